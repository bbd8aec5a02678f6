//! Listeners as they are wanted.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::super::{Listener, Snapshot};
use super::{Surroundings, fingerprint};
use crate::config::{
    self, Address, Config, KeyPath, ListenerLimit, ListenerTimeout, Peers, Problem,
};
use crate::message::forwarded::Trusted;
use crate::net::Seldom;
use crate::wire::{Limits, server::Terms};

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
        check(&listener.limit, &place, problems);
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
        let (timeout, limit) = Default::default();
        (
            KeyPath::from("listen"),
            config::Listener {
                name: None,
                address: address.clone(),
                mode: None,
                proxy_protocol: None,
                timeout,
                limit,
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
        limit,
    } = listener;
    let name = name.unwrap_or_else(|| address.to_string());
    let settings = (&name, &address, mode, &proxy_protocol, &timeout, &limit);
    let fingerprint = fingerprint(&settings);
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
            slots: limit
                .connections
                .map(|count| Arc::new(Semaphore::new(count))),
            terms: terms(&timeout, &limit),
            drain: Arc::default(),
            fingerprint,
        })
    })
}

fn terms(timeout: &ListenerTimeout, limit: &ListenerLimit) -> Terms {
    Terms {
        limits: Limits::from(limit),
        header_timeout: timeout.header.0,
        idle_timeout: timeout.idle.0,
        write_timeout: timeout.write.0,
        requests: limit.requests.unwrap_or(u64::MAX),
    }
}

/// Limits within which every honest request fits, and no single one takes much memory.
fn check(limit: &ListenerLimit, place: &KeyPath, problems: &mut Vec<Problem>) {
    let place = place.key("limit");
    let mut wrong = |key: &str, holds: bool, rule: &str| {
        if !holds {
            problems.push(Problem::error(place.key(key), rule));
        }
    };
    let sizes = 512..=16 << 20;
    let rule = "it must be from 512B to 16MiB";
    wrong("head", sizes.contains(&limit.head.0), rule);
    wrong("target", sizes.contains(&limit.target.0), rule);
    let fields = (8..=256).contains(&limit.fields);
    wrong("fields", fields, "it must be from 8 to 256");
    let connections = (1..=Semaphore::MAX_PERMITS).contains(&limit.connections.unwrap_or(1));
    wrong("connections", connections, "it must be 1 or more");
    wrong(
        "requests",
        limit.requests != Some(0),
        "it must be 1 or more",
    );
}
