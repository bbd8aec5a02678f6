//! Upstreams, named in their own tables or by a URL in a route.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::super::{SharedUpstream, Snapshot};
use super::{Surroundings, fingerprint, health, http2, upstream_tls};
use crate::config::{
    self, Address, Config, Http2, KeyPath, OneOrMany, Problem, Scheme, TlsFiles,
    UpstreamHttp2Table, Url, bare_host, nearest,
};
use crate::net::tls::{ClientTls, Entry};
use crate::upstream::{Check, Health, Place, Pool, PoolSettings, Server, Upstream};

/// How the servers of an upstream are spoken to by TLS, and what they are shown.
type Secured = (Option<ClientTls>, Option<Entry>);

/// The upstreams of the snapshot being built.
pub(super) struct Upstreams<'a> {
    previous: Option<&'a Snapshot>,
    surroundings: Surroundings<'a>,
    built: HashMap<String, SharedUpstream>,
    used: HashSet<String>,
    /// Where this process listens itself.
    own: Vec<Address>,
}

impl<'a> Upstreams<'a> {
    pub(super) fn new(
        config: &Config,
        previous: Option<&'a Snapshot>,
        surroundings: Surroundings<'a>,
    ) -> Self {
        let short = config.listen.iter();
        let long = config.listener.iter().map(|listener| &listener.address);
        Self {
            previous,
            surroundings,
            built: HashMap::new(),
            used: HashSet::new(),
            own: short.chain(long).cloned().collect(),
        }
    }

    /// Builds the tables `[upstream.NAME]`.
    pub(super) fn named(&mut self, config: &Config, problems: &mut Vec<Problem>) {
        for (name, upstream) in &config.upstream {
            let place = KeyPath::from("upstream").key(name);
            let known =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if name.is_empty() || !name.bytes().all(known) {
                let message = format!("`{name}` cannot be a name: letters, digits, `-`, `_`, `.`");
                problems.push(Problem::error(&place, message));
            }
            if upstream.server.is_empty() {
                problems.push(
                    Problem::error(place.key("server"), "the list of servers is empty")
                        .help("write `server = \"http://127.0.0.1:3000\"`"),
                );
            }
            for url in upstream.server.iter() {
                if let Err(message) = self.check(url) {
                    problems.push(Problem::error(place.key("server"), message));
                }
            }
            let tls = self.tls(name, upstream, &config.tls_files, &place, problems);
            check_http2(upstream, &place, problems);
            let check = health::compile(upstream, &place, problems);
            self.build(name, upstream, tls, check);
        }
    }

    /// A request that comes back to us would come back again, until descriptors run out.
    fn check(&self, url: &Url) -> Result<(), String> {
        match self.own.iter().find(|own| reaches(url, own)) {
            Some(own) => Err(format!(
                "`{}` is this proxy itself, which listens on {own}",
                url.as_str()
            )),
            None => Ok(()),
        }
    }

    /// The upstream that the route at this place names, or whose URL it gives.
    pub(super) fn find(
        &mut self,
        text: &str,
        at: &KeyPath,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Upstream>> {
        let mut wrong = |message: String, help: Option<String>| {
            problems.push(Problem::error(at, message).maybe_help(help));
        };
        let named = !text.contains([':', '/']);
        if named {
            self.used.insert(text.to_owned());
        } else {
            let url = text.parse::<Url>();
            let checked = url.and_then(|url| self.check(&url).map(|()| url));
            match checked {
                Err(message) => {
                    wrong(message, None);
                    return None;
                }
                Ok(url) if !self.built.contains_key(text) => {
                    return Some(self.inline(text, url, at, problems));
                }
                Ok(_) => {}
            }
        }
        let found = self.built.get(text);
        if found.is_none() {
            let (message, help) = self.unknown(text);
            wrong(message, Some(help));
        }
        found.map(|shared| Arc::clone(&shared.upstream))
    }

    fn inline(
        &mut self,
        text: &str,
        url: Url,
        at: &KeyPath,
        problems: &mut Vec<Problem>,
    ) -> Arc<Upstream> {
        let server = OneOrMany(vec![url]);
        let (http2, pool, timeout) = Default::default();
        let upstream = config::Upstream {
            server,
            proxy_protocol: None,
            tls: None,
            http2,
            health: None,
            pool,
            timeout,
        };
        let tls = self.tls(text, &upstream, &TlsFiles::default(), at, problems);
        self.build(text, &upstream, tls, None)
    }

    fn unknown(&self, name: &str) -> (String, String) {
        let known = self
            .built
            .keys()
            .map(String::as_str)
            .filter(|known| !known.contains('/'));
        let help = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "add a table `[upstream.{name}]`, or write a URL such as \"http://127.0.0.1:3000\""
            ),
        };
        (format!("there is no upstream `{name}`"), help)
    }

    pub(super) fn fingerprint(&self, text: &str) -> Option<u64> {
        self.built.get(text).map(|shared| shared.fingerprint)
    }

    pub(super) fn warn_of_unused(&self, config: &Config, problems: &mut Vec<Problem>) {
        for name in config
            .upstream
            .keys()
            .filter(|name| !self.used.contains(*name))
        {
            let message = format!("no route uses the upstream `{name}`");
            problems.push(Problem::warning(
                KeyPath::from("upstream").key(name),
                message,
            ));
        }
    }

    pub(super) fn into_shared(self) -> HashMap<String, SharedUpstream> {
        self.built
    }

    fn tls(
        &self,
        name: &str,
        upstream: &config::Upstream,
        files: &TlsFiles,
        at: &KeyPath,
        problems: &mut Vec<Problem>,
    ) -> Secured {
        let previous = self
            .previous
            .and_then(|previous| previous.upstreams.get(name));
        let before = previous.and_then(|shared| shared.shown.as_ref());
        let secured = upstream_tls::compile(upstream, files, before, at, problems);
        secured.map_or((None, None), |(tls, shown)| (Some(tls), shown))
    }

    fn build(
        &mut self,
        name: &str,
        config: &config::Upstream,
        (tls, shown): Secured,
        check: Option<Check>,
    ) -> Arc<Upstream> {
        let servers: Vec<Server> = config
            .server
            .iter()
            .filter_map(|url| server(url, self.surroundings))
            .collect();
        let settings = PoolSettings {
            connect_timeout: config.timeout.connect.0,
            max_idle: config.pool.max_idle,
            idle_timeout: config.pool.idle_timeout.0,
            proxy_protocol: config.proxy_protocol,
            tls,
            http2: match &config.http2 {
                Http2::On(table) => table.clone(),
                Http2::Off => UpstreamHttp2Table::default(),
            },
        };
        let fingerprint = fingerprint(&(name, &servers, &settings, &check));
        let previous = self
            .previous
            .and_then(|previous| previous.upstreams.get(name));
        let shared = match previous {
            Some(shared) if shared.fingerprint == fingerprint => SharedUpstream {
                shown,
                ..shared.clone()
            },
            previous => {
                let before = previous.map(|shared| &*shared.upstream);
                let upstream = self.fresh(name, servers, settings, check, before);
                SharedUpstream {
                    fingerprint,
                    upstream: Arc::new(upstream),
                    shown,
                }
            }
        };
        let upstream = Arc::clone(&shared.upstream);
        self.built.insert(name.to_owned(), shared);
        upstream
    }

    /// A new list of servers keeps the connections to those that stay, and what is known of them.
    fn fresh(
        &self,
        name: &str,
        servers: Vec<Server>,
        settings: PoolSettings,
        check: Option<Check>,
        before: Option<&Upstream>,
    ) -> Upstream {
        let Surroundings {
            metrics, workers, ..
        } = self.surroundings;
        let row = metrics.upstream(name);
        let known = before.and_then(Upstream::health);
        let health = check.map(|check| Health::new(check, &servers, known));
        let pool = match before.map(Upstream::pool) {
            Some(pool) if *pool.settings() == settings => Arc::clone(pool),
            _ => Arc::new(Pool::new(settings, workers)),
        };
        Upstream::new(name.to_owned(), servers, pool, row, workers, health)
    }
}

fn check_http2(upstream: &config::Upstream, at: &KeyPath, problems: &mut Vec<Problem>) {
    let at = at.key("http2");
    let mut servers = upstream.server.iter();
    match &upstream.http2 {
        Http2::On(table) => http2::check_upstream(table, &at, problems),
        Http2::Off if servers.any(|url| url.scheme() == Scheme::H2c) => {
            let message = "a server of `h2c://` speaks nothing else";
            let help = "begin its URL with `http://`, or leave `http2` out";
            problems.push(Problem::error(at, message).help(help));
        }
        Http2::Off => {}
    }
}

/// Does a connection to this URL come to us?
fn reaches(url: &Url, own: &Address) -> bool {
    match (own, url.authority()) {
        (Address::Ip(own), Some(authority)) => {
            let host = bare_host(authority);
            let ip = match host.parse::<IpAddr>() {
                Ok(ip) => ip,
                Err(_) if host == "localhost" => IpAddr::from([127, 0, 0, 1]),
                Err(_) => return false,
            };
            let local = own.ip().is_unspecified() && ip.is_loopback();
            own.port() == authority.port_u16().unwrap_or(url.scheme().port())
                && (own.ip() == ip || local)
        }
        (Address::Unix(own), None) => url.socket() == Some(own),
        (Address::Ip(_), None) | (Address::Unix(_), Some(_)) => false,
    }
}

fn server(url: &Url, surroundings: Surroundings<'_>) -> Option<Server> {
    let place = match (url.authority(), url.socket()) {
        (Some(authority), _) => Place::Host(authority.clone(), url.scheme()),
        (None, Some(socket)) => Place::Unix(socket.into()),
        // Without a demo origin this is only a check, and nothing will be sent.
        (None, None) => {
            let demo = surroundings.demo?.to_string().parse().ok()?;
            Place::Host(demo, url.scheme())
        }
    };
    Some(Server {
        place,
        base_path: url.base_path().to_owned(),
    })
}
