//! The gates of a listener or a route.

use std::collections::BTreeMap;

use super::{Surroundings, fingerprint};
use crate::config::{self, Clients, GateMode, KeyPath, ListFiles, OneOrMany, PageFile, Problem};
use crate::gate::{Access, Gate, Gates, Guard, Networks};
use crate::metrics::GateOf;

/// What is at hand for the gates of one listener or route.
pub(super) struct Desk<'a> {
    pub of: GateOf<'a>,
    pub lists: &'a Lists<'a>,
    pub surroundings: Surroundings<'a>,
    pub at: &'a KeyPath,
}

impl Desk<'_> {
    /// In the order in which they are asked.
    pub(super) fn gates(
        &self,
        access: Option<&config::Access>,
        problems: &mut Vec<Problem>,
    ) -> Gates {
        let access = access.map(|access| self.access(access, problems));
        Gates::new(access.into_iter().collect())
    }

    /// Of the files that are named: what they hold is a part of what was configured.
    pub(super) fn content(&self, access: Option<&config::Access>) -> u64 {
        let files = access.into_iter().flat_map(config::Access::files);
        let contents = files.map(|name| self.lists.0.get(name).map(|list| list.content));
        fingerprint(&contents.collect::<Vec<_>>())
    }

    fn access(&self, access: &config::Access, problems: &mut Vec<Problem>) -> Guard {
        let at = self.at.key("access");
        let mut set =
            |clients: &OneOrMany<Clients>, key| self.networks(clients, &at.key(key), problems);
        let allow = access.allow.as_ref();
        let allowed = allow.map(|allow| set(allow, "allow"));
        let deny = set(&access.deny, "deny");
        let mut odd = |message: &str| {
            let help = "write `allow = [\"10.0.0.0/8\"]`, or `deny`";
            problems.push(Problem::warning(&at, message).help(help));
        };
        match allow {
            None if access.deny.is_empty() => odd("nobody is shut out by it"),
            Some(allow) if allow.is_empty() => odd("`allow` is empty: nobody may pass"),
            _ => {}
        }
        let allow = allowed;
        self.guard(Gate::Access(Access { allow, deny }), access.mode)
    }

    fn guard(&self, gate: Gate, mode: GateMode) -> Guard {
        let metrics = self.surroundings.metrics;
        let (observes, word) = match mode {
            GateMode::Enforce => (false, "enforce"),
            GateMode::Observe => (true, "observe"),
        };
        Guard {
            row: metrics.gate(self.of, gate.word(), word),
            gate,
            observes,
        }
    }

    fn networks(
        &self,
        clients: &OneOrMany<Clients>,
        at: &KeyPath,
        problems: &mut Vec<Problem>,
    ) -> Networks {
        let (mut networks, mut unix) = (Vec::new(), false);
        let mut add = |clients: &Clients| match clients {
            Clients::Network(network) => networks.push(*network),
            Clients::Unix => unix = true,
            Clients::File(_) => {}
        };
        for clients in clients.iter() {
            let Clients::File(name) = clients else {
                add(clients);
                continue;
            };
            match self.lists.0.get(name.as_str()).map(|list| &list.clients) {
                Some(Ok(listed)) => listed.iter().for_each(&mut add),
                Some(Err((message, help))) => {
                    let message = format!("`{name}` {message}");
                    problems.push(Problem::error(at, message).help(help));
                }
                None => {
                    let message = format!("`{name}` was not read");
                    let help = "write the key `access` without escapes";
                    problems.push(Problem::error(at, message).help(help));
                }
            }
        }
        Networks::new(networks.into_iter(), unix)
    }
}

/// What the files that list clients hold, each read once however many gates name it.
pub(super) struct Lists<'a>(BTreeMap<&'a str, List>);

struct List {
    /// Tells whether the file holds the same as before.
    content: u64,
    /// Those listed; or what is wrong, as the end of a sentence, and what to do.
    clients: Result<Vec<Clients>, (String, String)>,
}

impl<'a> Lists<'a> {
    pub(super) fn new(files: &'a ListFiles) -> Self {
        let list = |(name, file): (&'a String, &PageFile)| {
            let list = List {
                content: fingerprint(&file.content),
                clients: clients(file),
            };
            (name.as_str(), list)
        };
        Self(files.0.iter().map(list).collect())
    }
}

fn clients(file: &PageFile) -> Result<Vec<Clients>, (String, String)> {
    let whole = || "a network or an IP address in each line; `#` begins a comment".to_owned();
    let content = file.content.as_ref().map_err(|why| {
        let help = format!("it is looked for at {}", file.place);
        (why.clone(), help)
    })?;
    let content = content
        .strip_prefix("\u{feff}".as_bytes())
        .unwrap_or(content);
    let text = str::from_utf8(content).map_err(|_| ("is not text".to_owned(), whole()))?;
    let mut listed = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let clients = Clients::line(line);
        listed.extend(clients.map_err(|why| {
            let number = number + 1;
            (format!("is wrong in line {number}: {why}"), whole())
        })?);
    }
    Ok(listed)
}
