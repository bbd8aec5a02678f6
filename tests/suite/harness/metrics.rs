//! What `/metrics` says.

/// One scrape.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// The value of the one series of that name with these labels (and perhaps more).
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.series(name).filter(|(given, _)| holds(given, labels));
        let value = found.next().map(|(_, value)| value);
        assert!(
            found.next().is_none(),
            "{name} {labels:?} is more than one series"
        );
        value
    }

    /// The sum over all series of that name with these labels; 0 without one.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.series(name).filter(|(given, _)| holds(given, labels));
        found.map(|(_, value)| value).sum()
    }

    /// Labels and values of every series of that name.
    pub(crate) fn series(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        self.0.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.parse().ok()?))
        })
    }

    /// How many series there are in all.
    pub(crate) fn count(&self) -> usize {
        self.0
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .count()
    }
}

fn holds(given: &str, labels: &[(&str, &str)]) -> bool {
    labels.iter().all(|(name, value)| {
        let label = format!("{name}=\"{value}\"");
        given.starts_with(&label) || given.contains(&format!(",{label}"))
    })
}
