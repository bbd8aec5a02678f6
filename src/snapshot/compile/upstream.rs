//! Upstreams, named in their own tables or by a URL in a route.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::super::{SharedUpstream, Snapshot};
use super::{Surroundings, fingerprint};
use crate::config::{self, Address, Config, KeyPath, OneOrMany, Problem, Url, nearest};
use crate::upstream::{Place, Pool, PoolSettings, Server, Upstream};

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
            self.build(name, upstream);
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

    /// The upstream that a route names, or whose URL it gives.
    pub(super) fn find(&mut self, text: &str) -> Result<Arc<Upstream>, (String, Option<String>)> {
        if !text.contains([':', '/']) {
            self.used.insert(text.to_owned());
            let found = self
                .built
                .get(text)
                .map(|shared| Arc::clone(&shared.upstream));
            return found.ok_or_else(|| self.unknown(text));
        }
        let url: Url = text.parse().map_err(|error| (error, None))?;
        self.check(&url).map_err(|error| (error, None))?;
        if let Some(shared) = self.built.get(text) {
            return Ok(Arc::clone(&shared.upstream));
        }
        let server = OneOrMany(vec![url]);
        let (pool, timeout) = Default::default();
        Ok(self.build(
            text,
            &config::Upstream {
                server,
                proxy_protocol: None,
                pool,
                timeout,
            },
        ))
    }

    fn unknown(&self, name: &str) -> (String, Option<String>) {
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
        (format!("there is no upstream `{name}`"), Some(help))
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

    fn build(&mut self, name: &str, config: &config::Upstream) -> Arc<Upstream> {
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
        };
        let fingerprint = fingerprint(&(name, &servers, &settings));
        let previous = self
            .previous
            .and_then(|previous| previous.upstreams.get(name));
        let shared = match previous {
            Some(shared) if shared.fingerprint == fingerprint => shared.clone(),
            previous => {
                let pool = previous.map(|shared| shared.upstream.pool());
                let upstream = self.fresh(name, servers, settings, pool);
                SharedUpstream {
                    fingerprint,
                    upstream: Arc::new(upstream),
                }
            }
        };
        let upstream = Arc::clone(&shared.upstream);
        self.built.insert(name.to_owned(), shared);
        upstream
    }

    /// A new list of servers keeps the connections to those that stay.
    fn fresh(
        &self,
        name: &str,
        servers: Vec<Server>,
        settings: PoolSettings,
        previous: Option<&Arc<Pool>>,
    ) -> Upstream {
        let Surroundings {
            metrics, workers, ..
        } = self.surroundings;
        let row = metrics.upstream(name);
        let pool = match previous {
            Some(pool) if *pool.settings() == settings => Arc::clone(pool),
            _ => Arc::new(Pool::new(settings, workers)),
        };
        Upstream::new(name.to_owned(), servers, pool, row, workers)
    }
}

/// Does a connection to this URL come to us?
fn reaches(url: &Url, own: &Address) -> bool {
    match (own, url.authority()) {
        (Address::Ip(own), Some(authority)) => {
            let host = authority.host().trim_matches(['[', ']']);
            let ip = match host.parse::<IpAddr>() {
                Ok(ip) => ip,
                Err(_) if host == "localhost" => IpAddr::from([127, 0, 0, 1]),
                Err(_) => return false,
            };
            let local = own.ip().is_unspecified() && ip.is_loopback();
            own.port() == authority.port_u16().unwrap_or(80) && (own.ip() == ip || local)
        }
        (Address::Unix(own), None) => url.socket() == Some(own),
        (Address::Ip(_), None) | (Address::Unix(_), Some(_)) => false,
    }
}

fn server(url: &Url, surroundings: Surroundings<'_>) -> Option<Server> {
    let place = match (url.authority(), url.socket()) {
        (Some(authority), _) => Place::Host(authority.clone()),
        (None, Some(socket)) => Place::Unix(socket.into()),
        // Without a demo origin this is only a check, and nothing will be sent.
        (None, None) => Place::Host(surroundings.demo?.to_string().parse().ok()?),
    };
    Some(Server {
        place,
        base_path: url.base_path().to_owned(),
    })
}
