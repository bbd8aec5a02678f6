//! What becomes of a request that a route has taken.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderValue, StatusCode};

use super::rewrite::Rewrite;
use super::upgrade::Upgrades;
use crate::message::host::HostPolicy;
use crate::message::rules::HeaderRules;
use crate::message::template::Template;
use crate::upstream::Upstream;

#[derive(Debug)]
pub enum Action {
    Forward(Box<Forward>),
    Redirect(Redirect),
    Respond(Respond),
}

/// Carry it to an upstream.
#[derive(Debug)]
pub struct Forward {
    pub upstream: Arc<Upstream>,
    pub host: HostPolicy,
    pub rewrite: Rewrite,
    pub request_rules: HeaderRules,
    pub timeouts: Timeouts,
    /// Bytes of a request's body.
    pub max_body: u64,
    pub upgrades: Upgrades,
    /// Send RFC 7239 `Forwarded` too.
    pub forwarded: bool,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the head of the answer.
    pub response: Duration,
    /// For the next piece of a body, of the request or the answer.
    pub idle: Duration,
    /// For everything.
    pub total: Option<Duration>,
}

/// Send it elsewhere.
#[derive(Debug)]
pub struct Redirect {
    pub to: Template,
    pub status: StatusCode,
}

/// Answer it from the configuration.
#[derive(Debug)]
pub struct Respond {
    pub status: StatusCode,
    pub content_type: HeaderValue,
    pub body: Bytes,
}
