//! TLS to upstreams: whom their servers have to be, and what they are shown.

use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::tls::{content, entry};
use super::{fingerprint, sound};
use crate::config::{Http2, KeyPath, Problem, Scheme, TlsFiles, Upstream, UpstreamTls, bare_host};
use crate::net::tls::{ClientTls, Entry, Part, Roots, Wanted, roots, roots_of_system};

/// How servers are spoken to, and what they are shown; none if no server speaks TLS, or with a Problem.
pub(super) fn compile(
    upstream: &Upstream,
    files: &TlsFiles,
    before: Option<&Entry>,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<(ClientTls, Option<Entry>)> {
    let mut servers = upstream.server.iter();
    if !servers.any(|url| url.scheme() == Scheme::Https) {
        if upstream.tls.is_some() {
            let problem = Problem::error(at.key("tls"), "no server of this upstream speaks TLS");
            problems.push(problem.help("begin the URLs of `server` with `https://`"));
        }
        return None;
    }
    let none = UpstreamTls::default();
    let at = match upstream.tls {
        Some(_) => at.key("tls"),
        None => at.clone(),
    };
    let tls = upstream.tls.as_ref().unwrap_or(&none);
    let name = name(tls, upstream, &at, problems);
    let authorities = authorities(tls, files, &at, problems);
    let pair = pair(tls, files, before, &at, problems);
    let (name, (roots, signed), pair) = (name?, authorities?, pair?);
    let http2 = upstream.http2 != Http2::Off;
    let shown = pair
        .as_ref()
        .map(|pair| (&pair.label, &pair.key, pair.content));
    let id = fingerprint(&(&tls.server_name, tls.insecure, http2, signed, shown));
    let wanted = Wanted {
        roots,
        name,
        pair: pair.as_ref().map(|pair| Arc::clone(&pair.certificate)),
        http2,
    };
    let built = ClientTls::new(id, wanted).map_err(|error| error.to_string());
    Some((sound(built, &at, problems)?, pair))
}

/// The name that every server has to hold; some none if each is known by its own.
fn name(
    tls: &UpstreamTls,
    upstream: &Upstream,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<Option<ServerName<'static>>> {
    let parse = |name: &str| {
        let parsed = ServerName::try_from(name.to_owned());
        parsed.map_err(|_| format!("`{name}` is no name that a certificate can hold"))
    };
    if let Some(name) = &tls.server_name {
        let help = "write the name of a host, such as \"app.internal\", or an IP address";
        let name = parse(name).map_err(|message| {
            problems.push(Problem::error(at.key("server_name"), message).help(help));
        });
        return name.ok().map(Some);
    }
    let hosts = upstream.server.iter().filter_map(|url| url.authority());
    let mut good = true;
    for host in hosts.map(bare_host) {
        if let Err(message) = parse(host) {
            let help = "write `tls = { server_name = \"...\" }` with the name in its certificate";
            problems.push(Problem::error(at, message).help(help));
            good = false;
        }
    }
    good.then_some(None)
}

/// Who is believed, none if everybody is, and what tells them from others.
fn authorities(
    tls: &UpstreamTls,
    files: &TlsFiles,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<(Option<Roots>, u64)> {
    if tls.insecure {
        let message = "servers are not asked who they are: whoever is in between can read and change \
                       everything";
        let problem = Problem::warning(at.key("insecure"), message);
        problems
            .push(problem.help("name those who sign their certificates: `ca = \"tls/ca.pem\"`"));
        return Some((None, 0));
    }
    if tls.ca.is_empty() {
        let system = roots_of_system();
        if system.is_empty() {
            let message = "the system trusts nobody who signs certificates";
            let help = "install `ca-certificates`, or write `tls = { ca = \"tls/ca.pem\" }`";
            problems.push(Problem::error(at, message).help(help));
            return None;
        }
        return Some((Some(system), 0));
    }
    let mut contents = Vec::new();
    for name in tls.ca.iter() {
        match content(files, name, Part::Certificate) {
            Ok(content) => contents.push((name.as_str(), &content.0[..])),
            Err(fault) => {
                let message = format!("`{name}` {}", fault.message);
                problems.push(Problem::error(at.key("ca"), message).maybe_help(fault.help));
            }
        }
    }
    if contents.len() < tls.ca.0.len() {
        return None;
    }
    let roots = sound(roots(&contents), &at.key("ca"), problems)?;
    Some((Some(roots), fingerprint(&contents)))
}

/// What is shown to servers that ask; some none if nothing is. The pair before goes on while the files
/// hold what cannot be used.
fn pair(
    tls: &UpstreamTls,
    files: &TlsFiles,
    before: Option<&Entry>,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<Option<Entry>> {
    let (has, lacks) = match (&tls.cert, &tls.key) {
        (None, None) => return Some(None),
        (Some(_), Some(_)) => ("", ""),
        (Some(_), None) => ("cert", "key"),
        (None, Some(_)) => ("key", "cert"),
    };
    let Some(wanted) = tls.pair() else {
        let message = format!("`{has}` is nothing without `{lacks}`");
        let help = "write `cert = \"tls/client.pem\"` and `key = \"tls/client.key\"`";
        problems.push(Problem::error(at.key(has), message).help(help));
        return None;
    };
    let known = before.filter(|known| known.label == wanted.cert && known.key == wanted.key);
    entry(&wanted, files, known, at, problems).map(Some)
}
