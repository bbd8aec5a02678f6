//! What the operator wrote: the schema of the one TOML file, and how its text becomes these types.
//!
//! No behaviour lives here. Turning a [`Config`] into something that serves is `snapshot::compile`.

mod access;
mod address;
mod client_auth;
mod error_page;
mod expand;
mod http2;
mod listener;
mod parse;
mod problem;
mod process;
mod route;
mod source;
mod tls;
mod units;
mod upstream;
mod url;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use access::{Access, Clients, GateMode};
pub use address::{Address, Peers, UNIX};
pub use client_auth::{ClientAuth, ClientAuthMode, ClientHeaders};
pub use error_page::{ErrorPage, ListFiles, PageFile, PageFiles};
pub use http2::{Http2, Http2Table, UpstreamHttp2Table};
pub use listener::{Listener, ListenerLimit, ListenerTimeout, ProxyProtocol};
pub use parse::parse;
pub use problem::{Problem, Report, Severity, nearest};
pub use process::{Admin, Log, LogFormat, LogLevel, Metrics, Reload, ReloadMode, Server};
pub use route::{EncodedSlash, HeaderRules, Redirect, Respond, Rewrite, Route, RouteTimeout};
pub use source::{KeyPath, Source};
pub use tls::{
    CertificateFiles, CertificateSource, Hsts, LocalAuthority, RedirectToHttps, Secret, Tls,
    TlsFile, TlsFiles,
};
pub use units::{Drain, OneOrMany, Size, Time};
pub use upstream::{Health, Pool, ProxyVersion, Upstream, UpstreamTimeout, UpstreamTls};
pub use url::{DEMO, Scheme, Url, bare_host};

/// The whole file. Every table may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Shorthand for `[[listener]] address = "..."`; one address or a list.
    pub listen: OneOrMany<Address>,
    /// Process-wide settings; a change asks for a restart.
    pub server: Server,
    /// The admin side: metrics, health and the reload API.
    pub admin: Admin,
    /// Access and application logs.
    pub log: Log,
    /// What `/metrics` measures.
    pub metrics: Metrics,
    /// How edits of this file are noticed and applied.
    pub reload: Reload,
    /// Addresses to accept connections on.
    pub listener: Vec<Listener>,
    /// Which request goes where.
    pub route: Vec<Route>,
    /// Named groups of servers.
    pub upstream: BTreeMap<String, Upstream>,
    /// What clients see when a request fails, on every route and where there is none.
    pub error_page: ErrorPage,
    /// The content of the files that are named, read beside this one.
    #[serde(skip)]
    pub page_files: PageFiles,
    #[serde(skip)]
    pub list_files: ListFiles,
    #[serde(skip)]
    pub tls_files: TlsFiles,
    /// There if a listener wants it.
    #[serde(skip)]
    pub local_authority: Option<LocalAuthority>,
}

impl Config {
    /// Every file that an error page is read from, as it is written.
    pub fn error_page_files(&self) -> impl Iterator<Item = &str> {
        let routes = self.route.iter().map(|route| &route.error_page);
        let tables = routes.chain([&self.error_page]);
        tables.flat_map(ErrorPage::files)
    }

    /// The same of lists of clients.
    pub fn list_files(&self) -> impl Iterator<Item = &str> {
        let routes = self.route.iter().map(|route| &route.access);
        let listeners = self.listener.iter().map(|listener| &listener.access);
        routes.chain(listeners).flatten().flat_map(Access::files)
    }

    /// The same of certificates and their keys.
    pub fn tls_files(&self) -> impl Iterator<Item = &str> {
        let tables = self
            .listener
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        let upstreams = self
            .upstream
            .values()
            .filter_map(|upstream| upstream.tls.as_ref());
        let upstreams = upstreams.flat_map(UpstreamTls::files);
        tables.flat_map(Tls::files).chain(upstreams)
    }

    /// Does a listener show certificates that are made here?
    pub fn uses_local_authority(&self) -> bool {
        let mut tables = self
            .listener
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        tables.any(|tls| tls.certificate == CertificateSource::Internal)
    }

    /// Does anything point at the built-in demo origin?
    pub fn uses_demo(&self) -> bool {
        let named = self
            .upstream
            .values()
            .flat_map(|upstream| upstream.server.iter());
        let inline = self
            .route
            .iter()
            .filter_map(|route| route.upstream.as_deref());
        named
            .map(|url| url.as_str())
            .chain(inline)
            .any(|url| url == DEMO)
    }
}
