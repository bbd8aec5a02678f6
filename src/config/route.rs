//! `[[route]]`: which requests, and what becomes of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::access::Access;
use super::error_page::ErrorPage;
use super::units::{OneOrMany, Size, Time};

#[derive(Debug, Clone, Default, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// The metric label and the log field; made from host and path if left out.
    pub name: Option<String>,

    /// `"api.example.com"`, `"*.example.com"`; none is every host.
    pub host: OneOrMany<String>,
    /// `"/users/{id}"`, `"/api/*"`; none is every path.
    pub path: OneOrMany<String>,
    /// `"GET"`; none is every method.
    pub method: OneOrMany<String>,
    /// Headers the request must carry: an exact value, or `"*"` for any.
    pub header: BTreeMap<String, String>,
    /// Query parameters the request must carry: an exact value as sent, or `"*"` for any.
    pub query: BTreeMap<String, String>,

    /// Forward to a name of `[upstream.*]`, or to a URL.
    pub upstream: Option<String>,
    /// Answer with a redirect instead.
    pub redirect: Option<Redirect>,
    /// Answer with a fixed response instead.
    pub respond: Option<Respond>,

    /// The `Host` the upstream sees: `"preserve"` (default, the client's), `"upstream"` (the
    /// server's own), or a literal.
    pub upstream_host: Option<String>,
    pub rewrite: Rewrite,
    pub request_header: HeaderRules,
    pub response_header: HeaderRules,
    pub timeout: RouteTimeout,
    pub limit: RouteLimit,
    /// What becomes of paths with `%2F` or `%5C` in them. Default `allow`: they are passed on as
    /// they are, and never match a slash.
    pub encoded_slash: EncodedSlash,
    /// Protocols that a client may switch its connection to: `"websocket"` (default) and others
    /// that are carried as they are; `[]` is none.
    pub upgrade: Option<OneOrMany<String>>,
    /// Send RFC 7239 `Forwarded` besides `X-Forwarded-*`. Default false.
    pub forwarded: bool,
    /// Which clients may pass. Default: all whom the listener lets pass.
    pub access: Option<Access>,
    /// Methods of gRPC whose calls are counted apart, as `"package.Service/Method"`. Default: none, and no
    /// call is counted by method.
    pub grpc_methods: Vec<String>,
    /// What clients see when a request of this route fails, before what is for all routes.
    pub error_page: ErrorPage,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteLimit {
    /// Of the body of a request; 413 beyond it. Default: none, since bodies pass through unkept.
    pub body: Option<Size>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlash {
    #[default]
    Allow,
    Reject,
}

/// Changes of the path before forwarding. A path that has not the prefix is left alone.
#[derive(Debug, Clone, Default, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    pub strip_prefix: Option<String>,
    pub add_prefix: Option<String>,
    pub replace_prefix: Option<ReplacePrefix>,
}

#[derive(Debug, Clone, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacePrefix {
    pub from: String,
    pub to: String,
}

/// Values may hold variables: `{client_ip}`, `{host}`, `{request_id}`, `{path.NAME}` and others.
#[derive(Debug, Clone, Default, Hash, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderRules {
    /// Taken away first.
    pub remove: OneOrMany<String>,
    /// Put in the place of any of that name.
    pub set: BTreeMap<String, String>,
    /// Put beside those of that name.
    pub add: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// Where to; may hold variables, as `"https://{host}{uri}"`.
    pub to: String,
    /// 301, 302, 303, 307 or 308 (default).
    #[serde(default = "permanent")]
    pub status: u16,
}

fn permanent() -> u16 {
    308
}

#[derive(Debug, Clone, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// Default 200.
    #[serde(default = "ok")]
    pub status: u16,
    #[serde(default)]
    pub body: String,
    /// Default `text/plain; charset=utf-8`.
    pub content_type: Option<String>,
}

fn ok() -> u16 {
    200
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteTimeout {
    /// From the request sent to the head of the answer. Default 60 s.
    pub response: Time,
    /// Between two pieces of a body, of the request or the answer. Default 60 s.
    pub idle: Time,
    /// From the request's head to the last byte of the answer. Default: no limit.
    pub total: Option<Time>,
    /// Without a byte either way for this long, the tunnel of an upgrade ends. Default 1 h:
    /// applications that keep a connection open send pings far more often.
    pub tunnel: Time,
    /// The same once one side has finished sending. Default 60 s.
    pub half_closed: Time,
}

impl Default for RouteTimeout {
    fn default() -> Self {
        Self {
            response: Time::seconds(60),
            idle: Time::seconds(60),
            total: None,
            tunnel: Time::seconds(60 * 60),
            half_closed: Time::seconds(60),
        }
    }
}
