//! Listeners as they are wanted.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::{Listener, Snapshot};
use super::{Surroundings, fingerprint};
use crate::config::{self, Address, Config, KeyPath, ListenerTimeout, Peers, Problem};
use crate::message::forwarded::Trusted;
use crate::net::Seldom;

pub(super) fn compile(
    config: &Config,
    previous: Option<&Snapshot>,
    surroundings: Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Listener>> {
    let wanted = wanted(config);
    if wanted.is_empty() {
        problems.push(
            Problem::error("listen", "there is no address to listen on")
                .help("write `listen = \"127.0.0.1:8080\"` at the top of the file"),
        );
    }
    let mut addresses: HashMap<Address, usize> = HashMap::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut listeners = Vec::new();
    for (index, (place, listener)) in wanted.into_iter().enumerate() {
        if listener.mode.is_some() && matches!(listener.address, Address::Ip(_)) {
            let message = "only the socket of a `unix:` address has a file with a mode";
            problems.push(Problem::error(place.key("mode"), message));
        }
        if let Some(proxies) = &listener.proxy_protocol
            && proxies.from == Peers::default()
        {
            let place = place.key("proxy_protocol").key("from");
            problems.push(
                Problem::error(place, "nobody is named who may send a PROXY header")
                    .help("write `proxy_protocol = { from = [\"10.0.0.0/8\"] }`"),
            );
        }
        let listener = build(listener, previous, surroundings);
        // Port 0 asks for a port of its own each time.
        let address = &listener.address;
        if !address.is_picked() && addresses.insert(address.clone(), index).is_some() {
            let message = format!("two listeners have the address {address}");
            problems.push(Problem::error(place.key("address"), message));
        } else if names.insert(listener.name.clone(), index).is_some() {
            let message = format!("two listeners are called `{}`", listener.name);
            problems.push(
                Problem::error(&place, message).help("give each a `name`, which the metrics show"),
            );
        }
        listeners.push(listener);
    }
    listeners
}

/// The shorthand and the long form.
fn wanted(config: &Config) -> Vec<(KeyPath, config::Listener)> {
    let short = config.listen.iter().map(|address| {
        let timeout = ListenerTimeout::default();
        (
            KeyPath::from("listen"),
            config::Listener {
                name: None,
                address: address.clone(),
                mode: None,
                proxy_protocol: None,
                timeout,
            },
        )
    });
    let long = config
        .listener
        .iter()
        .enumerate()
        .map(|(index, listener)| (KeyPath::from("listener").index(index), listener.clone()));
    short.chain(long).collect()
}

fn build(
    listener: config::Listener,
    previous: Option<&Snapshot>,
    surroundings: Surroundings<'_>,
) -> Arc<Listener> {
    let config::Listener {
        name,
        address,
        mode,
        proxy_protocol,
        timeout,
    } = listener;
    let name = name.unwrap_or_else(|| address.to_string());
    let fingerprint = fingerprint(&(&name, &address, mode, &proxy_protocol, &timeout));
    let same = |known: &&Arc<Listener>| known.fingerprint == fingerprint;
    let known = previous.and_then(|previous| previous.listeners.iter().find(same));
    known.cloned().unwrap_or_else(|| {
        Arc::new(Listener {
            row: surroundings.metrics.listener(&name),
            name,
            address,
            mode: mode.map(|mode| mode.0),
            proxy_protocol: proxy_protocol.map(|proxies| Trusted::new(proxies.from)),
            complaint: Seldom::default(),
            header_timeout: timeout.header.0,
            idle_timeout: timeout.idle.0,
            drain: Arc::default(),
            fingerprint,
        })
    })
}
