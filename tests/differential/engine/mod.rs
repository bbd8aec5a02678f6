//! Our reading of a byte stream beside that of other parsers.
//!
//! Streams are made from a seed, so that a run can be repeated. Where two readers disagree, the
//! disagreement is named by what each of them did, and every name must be in `table`.

mod compare;
mod h11;
mod hyper_server;
mod mutate;
mod ours;
mod plain;
mod streams;
mod table;

use std::collections::BTreeMap;

use fastrand::Rng;

pub(crate) use h11::H11;

/// Streams that h11 gets at once.
const BATCH: usize = 64;

/// One message as some parser read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Message {
    /// Method, target and version, or version and status.
    line: Vec<Vec<u8>>,
    fields: Fields,
    body: Vec<u8>,
    trailers: Fields,
    /// Where it ends in the stream, if the parser tells.
    end: Option<usize>,
    /// Nothing may follow it on the connection, if the parser tells.
    last: Option<bool>,
    /// Read as a message, but refused by whoever looks at its Host.
    unserved: bool,
}

/// By name in lower case, values in their order: the order of unlike names means nothing.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a reader stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum End {
    /// It would go on if there were more bytes.
    #[default]
    Waits,
    /// In its own words.
    Refused(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Reading {
    messages: Vec<Message>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Requests,
    /// To a GET, or to a HEAD.
    Answers {
        head: bool,
    },
}

/// What a run has seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) streams: usize,
    /// Messages that we took, over all streams.
    pub(crate) messages: usize,
    /// Disagreements that the table knows, by their names.
    pub(crate) known: BTreeMap<String, usize>,
    /// What the table does not know, by name, with few bytes that show it.
    pub(crate) unknown: BTreeMap<String, String>,
}

/// Compares `count` streams of this seed. With h11 it alone is asked: it is a hundred times slower.
pub(crate) fn run(seed: u64, count: usize, mut h11: Option<&mut H11>) -> Tally {
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let server = hyper_server::Server::new();
    while tally.streams < count {
        let batch: Vec<(Kind, Vec<u8>)> = (0..BATCH.min(count - tally.streams))
            .map(|_| streams::any(&mut rng))
            .collect();
        tally.streams += batch.len();
        let strict = h11.as_mut().map(|h11| h11.read(&batch));
        for (at, (kind, stream)) in batch.iter().enumerate() {
            let ours = ours::read(*kind, stream);
            tally.messages += ours.messages.len();
            if let (Some(strict), Some(h11)) = (&strict, h11.as_mut()) {
                let again = |kind, stream: &[u8]| h11.read(&[(kind, stream.to_vec())]).remove(0);
                tally.note("h11", *kind, stream, &ours, &strict[at], again);
                continue;
            }
            let theirs = plain::read(*kind, stream);
            tally.note("httparse", *kind, stream, &ours, &theirs, plain::read);
            if *kind == Kind::Requests {
                let again = |_, stream: &[u8]| server.requests(stream);
                tally.note("hyper", *kind, stream, &ours, &again(*kind, stream), again);
            }
        }
    }
    tally
}

impl Tally {
    fn note(
        &mut self,
        peer: &str,
        kind: Kind,
        stream: &[u8],
        ours: &Reading,
        theirs: &Reading,
        mut again: impl FnMut(Kind, &[u8]) -> Reading,
    ) {
        let Some(difference) = compare::difference(ours, theirs) else {
            return;
        };
        if let Some(rule) = table::find(peer, &difference) {
            *self.known.entry(rule.name(peer)).or_default() += 1;
            return;
        }
        let name = format!("{peer}, {kind:?}: {difference}");
        self.unknown.entry(name).or_insert_with(|| {
            let smallest = compare::shrink(stream, |stream| {
                let now = compare::difference(&ours::read(kind, stream), &again(kind, stream));
                now.as_ref() == Some(&difference)
            });
            smallest.escape_ascii().to_string()
        });
    }

    /// Every disagreement that the table explains, with its count and reason, for people.
    pub(crate) fn report(&self) -> String {
        let mut report = format!("{} streams, {} messages\n", self.streams, self.messages);
        for (name, count) in &self.known {
            report.push_str(&format!("{count:>8}  {name}\n"));
        }
        report
    }
}

fn sorted(mut fields: Fields) -> Fields {
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}
