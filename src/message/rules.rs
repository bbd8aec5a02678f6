//! Header rules of a route: remove, then set, then add.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::template::{Template, Variables};

/// The rules, with all that can be made beforehand made when the snapshot is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderRules {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, Value)>,
    pub add: Vec<(HeaderName, Value)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Constant(HeaderValue),
    Template(Template),
}

impl Value {
    fn render(&self, variables: &Variables<'_>) -> Option<HeaderValue> {
        match self {
            Self::Constant(value) => Some(value.clone()),
            Self::Template(template) => HeaderValue::try_from(template.render(variables)).ok(),
        }
    }
}

/// The rules with the values for one request: rendered while its head is whole, applied later.
#[derive(Debug)]
pub struct Rendered<'a> {
    rules: &'a HeaderRules,
    set: Vec<HeaderValue>,
    add: Vec<HeaderValue>,
}

impl HeaderRules {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// None if a variable holds bytes that cannot stand in a field.
    pub fn render(&self, variables: &Variables<'_>) -> Option<Rendered<'_>> {
        // As for most routes, where nothing is to be rendered.
        if self.is_empty() {
            return Some(Rendered {
                rules: self,
                set: Vec::new(),
                add: Vec::new(),
            });
        }
        let values = |rules: &[(HeaderName, Value)]| {
            rules
                .iter()
                .map(|(_, value)| value.render(variables))
                .collect::<Option<Vec<_>>>()
        };
        Some(Rendered {
            rules: self,
            set: values(&self.set)?,
            add: values(&self.add)?,
        })
    }
}

impl Rendered<'_> {
    pub fn apply(self, headers: &mut HeaderMap) {
        if self.rules.is_empty() {
            return;
        }
        for name in &self.rules.remove {
            headers.remove(name);
        }
        for ((name, _), value) in self.rules.set.iter().zip(self.set) {
            headers.insert(name, value);
        }
        for ((name, _), value) in self.rules.add.iter().zip(self.add) {
            headers.append(name, value);
        }
    }
}
