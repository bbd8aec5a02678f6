//! The certificate of a listener with `tls = "internal"`: one for all that it is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fingerprint;
use crate::config::{self, Address, Config, KeyPath, Problem};
use crate::net::tls::{Entry, Tls, local};

/// What stands for its certificate in metrics.
const LABEL: &str = "internal";

/// The one that serves, if nothing that it is made of has changed, or a new one.
pub(super) fn entry(
    config: &Config,
    listener: &config::Listener,
    before: Option<&Tls>,
    at: &KeyPath,
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    let mut wrong = |message: String, help: &str| {
        problems.push(Problem::error(at, message).help(help));
    };
    let Some(authority) = &config.local_authority else {
        let help = "write the key `tls` without escapes";
        wrong("the local authority was not looked for".to_owned(), help);
        return None;
    };
    let (certificate, key) = match &authority.content {
        Ok(content) => content,
        Err((message, help)) => {
            wrong(message.clone(), help);
            return None;
        }
    };
    let names = names(config, listener);
    let content = fingerprint(&(&certificate.0, &key.0, authority.period, &names));
    let mut known = before.into_iter().flat_map(Tls::entries);
    if let Some(known) = known.find(|known| known.key.is_empty() && known.content == content) {
        return Some(known.clone());
    }
    let text = |pem: &config::Secret| String::from_utf8_lossy(&pem.0).into_owned();
    let pair = (text(certificate), text(key));
    match local::issue((&pair.0, &pair.1), names.into_iter().collect()) {
        Ok(made) => Some(Entry {
            label: LABEL.to_owned(),
            key: String::new(),
            content,
            certificate: Arc::new(made),
            policy: 0,
            kept_back: false,
        }),
        Err(why) => {
            let message = format!("no certificate can be made by the authority: {why}");
            wrong(
                message,
                &format!("take {} away, and a new one is made", authority.place),
            );
            None
        }
    }
}

/// This machine, by the names that it has everywhere, and every host that has a route.
fn names(config: &Config, listener: &config::Listener) -> BTreeSet<String> {
    let here = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let hosts = config.route.iter().flat_map(|route| route.host.iter());
    let hosts = hosts.map(|host| host.to_ascii_lowercase());
    let mut names: BTreeSet<String> = hosts.chain(here).collect();
    if let Address::Ip(address) = &listener.address
        && !address.ip().is_unspecified()
    {
        names.insert(address.ip().to_string());
    }
    names
}
