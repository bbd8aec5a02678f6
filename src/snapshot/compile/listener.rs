//! Listeners as they are wanted.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::Semaphore;

use super::super::{Listener, Snapshot, Tlses};
use super::{Surroundings, fingerprint, gate, http2, tls};
use crate::config::{
    self, Address, Config, Hsts, Http2, KeyPath, ListenerLimit, ListenerTimeout, Peers, Problem,
    RedirectToHttps,
};
use crate::gate::Gates;
use crate::message::forwarded::Trusted;
use crate::metrics::GateOf;
use crate::net::Seldom;
use crate::net::tls::Tls;
use crate::wire::{Limits, server::Terms};

const HTTPS: u16 = 443;

pub(super) fn compile(
    config: &Config,
    previous: Option<&Snapshot>,
    surroundings: Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> (Vec<Arc<Listener>>, Tlses) {
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
    let mut tlses = Tlses::new();
    let https = https_port(&wanted);
    for (index, (place, listener)) in wanted.into_iter().enumerate() {
        check(&listener, &place, problems);
        let name = name(&listener);
        let at = place.key("tls");
        let tls = tls::compile(&name, &listener, config, previous, &at, problems);
        if let Some(tls) = &tls {
            tlses.insert(name.clone(), Arc::clone(tls));
        }
        let listener = build(name, listener, https, tls, previous, surroundings);
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
    (listeners, tlses)
}

/// The gates of listeners, by their names; none if no listener has one.
pub(super) fn gates(
    config: &Config,
    lists: &gate::Lists<'_>,
    surroundings: Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<HashMap<String, Gates>> {
    let guarded = config.listener.iter().enumerate();
    let guarded = guarded.filter(|(_, listener)| listener.access.is_some());
    let gates = guarded.map(|(index, listener)| {
        let (name, at) = (name(listener), KeyPath::from("listener").index(index));
        let desk = gate::Desk {
            of: GateOf::Listener(&name),
            lists,
            surroundings,
            at: &at,
        };
        let gates = desk.gates(listener.access.as_ref(), problems);
        (name, gates)
    });
    let gates: HashMap<String, Gates> = gates.collect();
    (!gates.is_empty()).then_some(gates)
}

/// The label of its metrics.
fn name(listener: &config::Listener) -> String {
    let address = || listener.address.to_string();
    listener.name.clone().unwrap_or_else(address)
}

/// Where HTTPS is, for those who are sent there: at the usual port, unless a listener of another speaks
/// it and none of that one.
fn https_port(listeners: &[(KeyPath, config::Listener)]) -> u16 {
    let speaks = listeners
        .iter()
        .filter(|(_, listener)| listener.tls.is_some());
    let ports: Vec<u16> = speaks
        .filter_map(|(_, listener)| match &listener.address {
            Address::Ip(address) => Some(address.port()).filter(|port| *port > 0),
            Address::Unix(_) => None,
        })
        .collect();
    let first = ports.first().copied().unwrap_or(HTTPS);
    if ports.contains(&HTTPS) { HTTPS } else { first }
}

/// The shorthand and the long form.
fn wanted(config: &Config) -> Vec<(KeyPath, config::Listener)> {
    let short = config.listen.iter().map(|address| {
        let (http2, timeout, limit) = Default::default();
        (
            KeyPath::from("listen"),
            config::Listener {
                name: None,
                address: address.clone(),
                mode: None,
                proxy_protocol: None,
                tls: None,
                redirect_to_https: None,
                hsts: None,
                http2,
                access: None,
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
    name: String,
    listener: config::Listener,
    https: u16,
    tls: Option<Arc<Tls>>,
    previous: Option<&Snapshot>,
    surroundings: Surroundings<'_>,
) -> Arc<Listener> {
    let config::Listener {
        address,
        mode,
        proxy_protocol,
        tls: wanted,
        redirect_to_https,
        hsts,
        http2,
        timeout,
        limit,
        // Beside the listeners, too: see `gates`.
        access: _,
        name: _,
    } = listener;
    let redirect = match redirect_to_https {
        None | Some(RedirectToHttps::No) => None,
        Some(RedirectToHttps::Yes) => Some(https),
        Some(RedirectToHttps::Port(port)) => Some(port),
    };
    let settings = (&name, &address, mode, &proxy_protocol, &timeout, &limit);
    let fingerprint = fingerprint(&(settings, &wanted, redirect, &hsts, &http2));
    let same = |known: &&Arc<Listener>| known.fingerprint == fingerprint;
    let known = previous.and_then(|previous| previous.listeners.iter().find(same));
    known.cloned().unwrap_or_else(|| {
        Arc::new(Listener {
            row: surroundings.metrics.listener(&name),
            tls_row: tls.is_some().then(|| surroundings.metrics.tls(&name)),
            tls,
            handshake_timeout: timeout.handshake.0,
            redirect_to_https: redirect,
            hsts: hsts.as_ref().and_then(sentence),
            name,
            address,
            mode: mode.map(|mode| mode.0),
            proxy_protocol: proxy_protocol.map(|proxies| Trusted::new(proxies.from)),
            complaint: Seldom::default(),
            slots: limit
                .connections
                .map(|count| Arc::new(Semaphore::new(count))),
            terms: terms(&timeout, &limit),
            http2: match http2 {
                Http2::Off => None,
                Http2::On(table) => Some(table),
            },
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

/// As RFC 6797 section 6.1 has it.
fn sentence(Hsts(hsts): &Hsts) -> Option<HeaderValue> {
    let mut text = format!("max-age={}", hsts.max_age.0.as_secs());
    for (said, directive) in [
        (hsts.include_subdomains, "; includeSubDomains"),
        (hsts.preload, "; preload"),
    ] {
        if said {
            text.push_str(directive);
        }
    }
    HeaderValue::try_from(text).ok()
}

fn check(listener: &config::Listener, place: &KeyPath, problems: &mut Vec<Problem>) {
    check_limit(&listener.limit, place, problems);
    if let Http2::On(table) = &listener.http2 {
        http2::check_listener(table, &place.key("http2"), problems);
    }
    let mut wrong = |keys: &[&str], message: &str, help: &str| {
        let place = keys
            .iter()
            .fold(place.clone(), |place, key| place.key(*key));
        problems.push(Problem::error(place, message).help(help));
    };
    if listener.mode.is_some() && matches!(listener.address, Address::Ip(_)) {
        let message = "only the socket of a `unix:` address has a file with a mode";
        wrong(&["mode"], message, "take it away");
    }
    if let Some(proxies) = &listener.proxy_protocol
        && proxies.from == Peers::default()
    {
        let message = "nobody is named who may send a PROXY header";
        let help = "write `proxy_protocol = { from = [\"10.0.0.0/8\"] }`";
        wrong(&["proxy_protocol", "from"], message, help);
    }
    let redirects = listener
        .redirect_to_https
        .is_some_and(|to| to != RedirectToHttps::No);
    if listener.tls.is_some() && redirects {
        let message = "this listener speaks HTTPS itself; sent there again, nobody would arrive";
        wrong(
            &["redirect_to_https"],
            message,
            "write it for the listener in clear",
        );
    }
    if listener.tls.is_none() && listener.hsts.is_some() {
        let message = "browsers believe it only over TLS, which this listener does not speak";
        wrong(&["hsts"], message, "write it for the listener with `tls`");
    }
    if listener.timeout.handshake.0.is_zero() {
        let help = "leave it out for \"10s\"";
        wrong(&["timeout", "handshake"], "it cannot be zero", help);
    }
}

/// Limits within which every honest request fits, and no single one takes much memory.
fn check_limit(limit: &ListenerLimit, place: &KeyPath, problems: &mut Vec<Problem>) {
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
