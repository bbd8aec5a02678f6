//! What a listener asks of its clients: one policy for each way to ask.

use http::HeaderName;

use super::tls::content;
use super::{fingerprint, sound};
use crate::config::{ClientAuth, ClientAuthMode, ClientHeaders, KeyPath, Problem, TlsFiles};
use crate::net::tls::{Asks, IdentityHeaders, Part, verifier};

/// In the order in which certificates ask for them.
#[derive(Debug, Default)]
pub(super) struct Policies<'a>(Vec<(Option<&'a ClientAuth>, KeyPath)>);

impl<'a> Policies<'a> {
    /// The number of this one, which may be the same as another's.
    pub(super) fn number(&mut self, client: Option<&'a ClientAuth>, at: KeyPath) -> usize {
        let mut known = self.0.iter();
        known
            .position(|(known, _)| *known == client)
            .unwrap_or_else(|| {
                self.0.push((client, at));
                self.0.len() - 1
            })
    }

    pub(super) fn compile(
        &self,
        files: &TlsFiles,
        problems: &mut Vec<Problem>,
    ) -> Option<Vec<Asks>> {
        let asks: Vec<Option<Asks>> = self
            .0
            .iter()
            .map(|(client, at)| match client {
                Some(client) => asks(client, files, at, problems),
                None => Some(Asks {
                    id: fingerprint(client),
                    verified: 0,
                    verifier: None,
                    headers: IdentityHeaders::default(),
                }),
            })
            .collect();
        asks.into_iter().collect()
    }
}

fn asks(
    client: &ClientAuth,
    files: &TlsFiles,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<Asks> {
    let headers = headers(&client.headers, &at.key("headers"), problems);
    if client.ca.is_empty() {
        let problem = Problem::error(
            at.key("ca"),
            "nobody is named who signs clients' certificates",
        );
        problems.push(problem.help("write `ca = \"tls/clients.pem\"`"));
        return None;
    }
    let mut read = |names: &'_ [String], key: &str| -> Option<Vec<(String, Vec<u8>)>> {
        let contents = names.iter().map(|name| {
            let content = content(files, name, Part::Certificate).map_err(|fault| {
                let message = format!("`{name}` {}", fault.message);
                problems.push(Problem::error(at.key(key), message).maybe_help(fault.help));
            });
            Some((name.clone(), content.ok()?.0.to_vec()))
        });
        let contents: Vec<Option<_>> = contents.collect();
        contents.into_iter().collect()
    };
    let (authorities, revoked) = (read(&client.ca.0, "ca"), read(&client.crl.0, "crl"));
    let (authorities, revoked) = (authorities?, revoked?);
    let optional = client.mode == ClientAuthMode::Optional;
    let verified = fingerprint(&(client.mode, &authorities, &revoked));
    let verifier = verifier(&named(&authorities), &named(&revoked), optional);
    Some(Asks {
        id: fingerprint(&Some(client)),
        verified,
        verifier: Some(sound(verifier, at, problems)?),
        headers: headers?,
    })
}

fn named(contents: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    let named = contents
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()));
    named.collect()
}

fn headers(
    headers: &ClientHeaders,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<IdentityHeaders> {
    let mut good = true;
    let mut name = |key: &str, name: &Option<String>| {
        let text = name.as_deref()?;
        let name = text.parse::<HeaderName>();
        let name =
            name.map_err(|_| format!("`{}` is not the name of a field", text.escape_debug()));
        let name = sound(name, &at.key(key), problems);
        good &= name.is_some();
        name
    };
    let headers = IdentityHeaders {
        subject: name("subject", &headers.subject),
        san: name("san", &headers.san),
        fingerprint: name("fingerprint", &headers.fingerprint),
    };
    good.then_some(headers)
}
