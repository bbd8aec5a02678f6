//! Routes: patterns parsed, names joined, all that can be made beforehand made.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::super::Snapshot;
use super::gate::Lists;
use super::header::{header_value, rules};
use super::name::{LONGEST_NAME, equal_unnamed, made_name};
use super::upgrade::upgrades;
use super::upstream::Upstreams;
use super::{Surroundings, at, calls, fingerprint, gate, matcher, sound};
use crate::config::{self, Config, EncodedSlash, KeyPath, Problem};
use crate::message::host::HostPolicy;
use crate::message::template::Template;
use crate::metrics::{GateOf, UNMATCHED};
use crate::route::{Action, Forward, HostPattern, Redirect, Respond, Rewrite, Route, Timeouts};

pub(super) fn compile(
    config: &Config,
    previous: Option<&Snapshot>,
    surroundings: Surroundings<'_>,
    upstreams: &mut Upstreams<'_>,
    lists: &Lists<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Route>> {
    if config.route.is_empty() {
        problems.push(Problem::warning(
            "route",
            "there are no routes: every request gets a 404",
        ));
    }
    let known = previous.into_iter().flat_map(Snapshot::routes);
    let known: HashMap<&str, &Arc<Route>> =
        known.map(|route| (route.name.as_str(), route)).collect();
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut routes = Vec::with_capacity(config.route.len());
    for (index, route) in config.route.iter().enumerate() {
        let mut compiler = Compiler {
            route,
            at: at(index),
            lists,
            surroundings,
            upstreams,
            problems,
        };
        let name = compiler.name();
        routes.push(compiler.compile(name.clone(), &known));
        if let Some(first) = names.get(&name)
            && !equal_unnamed(route, &config.route[*first])
        {
            let message = format!("two routes are called `{name}`; the other is route[{first}]");
            problems.push(
                Problem::error(at(index).key("name"), message)
                    .help("give each a `name` of its own: it is the label of its metrics"),
            );
        }
        names.entry(name).or_insert(index);
    }
    routes
}

struct Compiler<'a, 'b> {
    route: &'a config::Route,
    at: KeyPath,
    lists: &'a Lists<'a>,
    surroundings: Surroundings<'a>,
    upstreams: &'a mut Upstreams<'b>,
    problems: &'a mut Vec<Problem>,
}

impl Compiler<'_, '_> {
    fn compile(&mut self, name: String, known: &HashMap<&str, &Arc<Route>>) -> Arc<Route> {
        let matcher = matcher::compile(self.route, &self.at, self.problems);
        let parts = matcher.parts();
        let action = self.action(&parts);
        let place = self.at.key("response_header");
        let response_rules = rules(&self.route.response_header, &parts, &place, self.problems);
        let upstream = self.route.upstream.as_deref();
        let upstream = upstream.and_then(|upstream| self.upstreams.fingerprint(upstream));
        let (at, access) = (self.at.clone(), self.route.access.as_ref());
        let desk = gate::Desk {
            of: GateOf::Route(&name),
            lists: self.lists,
            surroundings: self.surroundings,
            at: &at,
        };
        let gates = desk.gates(access, self.problems);
        let fingerprint = fingerprint(&(&name, self.route, upstream, desk.content(access)));
        // Looked up by name and not only by fingerprint, so that a route renamed is one removed.
        let same = known
            .get(name.as_str())
            .filter(|route| route.fingerprint == fingerprint);
        if let Some(route) = same {
            return Arc::clone(route);
        }
        let metrics = self.surroundings.metrics;
        Arc::new(Route {
            row: metrics.route(&name),
            gates,
            calls: calls::compile(&name, self.route, metrics, &self.at, self.problems),
            name,
            fingerprint,
            matcher,
            action,
            reject_encoded_slash: self.route.encoded_slash == EncodedSlash::Reject,
            response_rules,
            drain: Arc::default(),
        })
    }

    /// The operator's, or one made of everything that tells the route from others.
    fn name(&mut self) -> String {
        let Some(name) = &self.route.name else {
            return made_name(self.route);
        };
        let place = self.at.key("name");
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            let message = format!("a name has 1 to {LONGEST_NAME} characters that can be printed");
            self.problems.push(Problem::error(&place, message));
        }
        if name == UNMATCHED {
            let message = format!("`{UNMATCHED}` is the name of requests that no route takes");
            self.problems.push(Problem::error(&place, message));
        }
        name.clone()
    }

    fn action(&mut self, parts: &[&str]) -> Action {
        let config::Route {
            upstream,
            redirect,
            respond,
            ..
        } = self.route;
        match (upstream, redirect, respond) {
            (Some(upstream), None, None) => {
                if let Some(forward) = self.forward(upstream, parts) {
                    return Action::Forward(Box::new(forward));
                }
            }
            (None, Some(redirect), None) => return self.redirect(redirect, parts),
            (None, None, Some(respond)) => return self.respond(respond),
            (None, None, None) => self.problems.push(
                Problem::error(&self.at, "the route does not say where its requests go")
                    .help("add `upstream = \"http://127.0.0.1:3000\"`, `redirect` or `respond`"),
            ),
            _ => self.problems.push(
                Problem::error(
                    &self.at,
                    "a route has one of `upstream`, `redirect` and `respond`",
                )
                .help("keep one and make further routes for the others"),
            ),
        }
        // Never serves: there is a Problem.
        Action::Respond(Respond {
            status: StatusCode::NOT_FOUND,
            content_type: HeaderValue::from_static("text/plain"),
            body: Default::default(),
        })
    }

    fn forward(&mut self, upstream: &str, parts: &[&str]) -> Option<Forward> {
        let place = self.at.key("upstream");
        let found = self.upstreams.find(upstream, &place, self.problems);
        let host = match self.route.upstream_host.as_deref() {
            None | Some("preserve") => Some(HostPolicy::Preserve),
            Some("upstream") => Some(HostPolicy::Upstream),
            Some(literal) => {
                let value = header_value(literal).and_then(|value| {
                    let host = literal.rsplit_once(':').map_or(literal, |(host, _)| host);
                    HostPattern::parse(host).map(|_| HostPolicy::Literal(value))
                });
                sound(value, &self.at.key("upstream_host"), self.problems)
            }
        };
        let rewrite = self.rewrite();
        let upgrades = upgrades(self.route, &self.at, self.problems);
        let place = self.at.key("request_header");
        let request_rules = rules(&self.route.request_header, parts, &place, self.problems);
        Some(Forward {
            upstream: found?,
            host: host?,
            rewrite: rewrite?,
            request_rules,
            timeouts: self.timeouts(),
            max_body: self.route.limit.body.map_or(u64::MAX, |size| size.0),
            upgrades,
            forwarded: self.route.forwarded,
        })
    }

    fn timeouts(&mut self) -> Timeouts {
        let config::RouteTimeout {
            response,
            idle,
            total,
            ..
        } = &self.route.timeout;
        let place = self.at.key("timeout");
        let given = [
            ("response", Some(response)),
            ("idle", Some(idle)),
            ("total", total.as_ref()),
        ];
        for (key, time) in given {
            if time.is_some_and(|time| time.0.is_zero()) {
                let message = "no request can be answered in no time";
                let help = "write a time such as \"30s\", or leave it out for the default";
                self.problems
                    .push(Problem::error(place.key(key), message).help(help));
            }
        }
        Timeouts {
            response: response.0,
            idle: idle.0,
            total: total.map(|total| total.0),
        }
    }

    fn rewrite(&mut self) -> Option<Rewrite> {
        let config::Rewrite {
            strip_prefix,
            add_prefix,
            replace_prefix,
        } = &self.route.rewrite;
        let rewrite = match replace_prefix {
            None => Rewrite::new(strip_prefix.as_deref(), add_prefix.as_deref(), false),
            Some(replace) if strip_prefix.is_none() && add_prefix.is_none() => {
                Rewrite::new(Some(&replace.from), Some(&replace.to), true)
            }
            Some(_) => Err(
                "`replace_prefix` does what `strip_prefix` and `add_prefix` do; write \
                            either"
                    .to_owned(),
            ),
        };
        sound(rewrite, &self.at.key("rewrite"), self.problems)
    }

    fn redirect(&mut self, redirect: &config::Redirect, parts: &[&str]) -> Action {
        let place = self.at.key("redirect");
        let template = Template::parse(&redirect.to, parts).and_then(|template| {
            match template.constant().map(header_value) {
                Some(Err(error)) => Err(error),
                _ => Ok(template),
            }
        });
        let to = sound(template, &place.key("to"), self.problems);
        let status = StatusCode::from_u16(redirect.status).unwrap_or_default();
        if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) {
            let message = format!("{} is not a redirect", redirect.status);
            self.problems.push(
                Problem::error(place.key("status"), message)
                    .help("write 308 or 307, which keep the method, or 301, 302 or 303"),
            );
        }
        Action::Redirect(Redirect {
            to: to.unwrap_or_default(),
            status,
        })
    }

    fn respond(&mut self, respond: &config::Respond) -> Action {
        let place = self.at.key("respond");
        let status = StatusCode::from_u16(respond.status).unwrap_or_default();
        if !(200..=599).contains(&respond.status) {
            let message = format!("{} is not the status of an answer", respond.status);
            self.problems
                .push(Problem::error(place.key("status"), message).help("write 200 to 599"));
        }
        let content_type = respond
            .content_type
            .as_deref()
            .unwrap_or("text/plain; charset=utf-8");
        let content_type = sound(
            header_value(content_type),
            &place.key("content_type"),
            self.problems,
        );
        Action::Respond(Respond {
            status,
            content_type: content_type.unwrap_or(HeaderValue::from_static("text/plain")),
            body: respond.body.clone().into(),
        })
    }
}
