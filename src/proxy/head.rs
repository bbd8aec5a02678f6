//! The head of a request as the upstream gets it.

use http::header::EXPECT;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri, Version};

use super::forward::Passage;
use super::upgrade::Ask;
use crate::message::fields::{has, remove_all};
use crate::message::forwarded::{self, Sender};
use crate::message::forwarded_text::ForwardedLines;
use crate::message::hop;
use crate::message::rules::Rendered;
use crate::message::target::Authority;

impl Passage<'_> {
    /// Strip, then add: what belongs to the client's connection goes first, ours comes last. Does the
    /// client read trailers?
    pub(super) fn head<'a>(
        &'a self,
        head: &mut Parts,
        path: Option<PathAndQuery>,
        rules: Rendered<'_>,
        authority: &'a Authority,
        ask: Option<&Ask>,
    ) -> (bool, Option<ForwardedLines<'a>>) {
        let (version, headers) = (head.version, &mut head.headers);
        let trailers = hop::strip_request(headers);
        // We answer it ourselves when the upstream begins to read.
        if has(headers, &EXPECT) {
            headers.remove(EXPECT);
        }
        let forwarded = self.tell(headers, version, authority);
        self.identity(headers);
        self.forward.host.apply(headers, authority);
        rules.apply(headers);
        if let Some(ask) = ask {
            ask.put(headers);
        }
        let own = || head.uri.path_and_query().cloned();
        // What is in origin-form already stays as it is.
        if path.is_some() || head.uri.authority().is_some() {
            head.uri = path
                .or_else(own)
                .map_or_else(|| Uri::from_static("/"), Uri::from);
        }
        head.extensions.clear();
        (trailers, forwarded)
    }

    /// Tells the upstream who asks: in the headers, or in lines to be put after them.
    fn tell<'a>(
        &'a self,
        headers: &mut HeaderMap,
        version: Version,
        authority: &'a Authority,
    ) -> Option<ForwardedLines<'a>> {
        let Self {
            connection,
            forward,
            ..
        } = self;
        let peer = connection.peer();
        if !self.trusted {
            forwarded::remove_claims(headers);
        }
        let lines = !forward.forwarded && !forward.upstream.may_share();
        if lines && forward.request_rules.is_empty() {
            let text = &connection.forwarded;
            let lines = ForwardedLines::of(headers, text, version, &authority.value);
            if lines.is_some() {
                return lines;
            }
        }
        let sender = Sender {
            peer,
            peer_text: connection.peer_text.as_ref(),
            authority: &authority.value,
            secured: connection.secured.is_some(),
            version,
            forwarded: forward.forwarded,
        };
        forwarded::set(headers, &sender);
        None
    }

    /// Who the client is by its certificate, and nothing that anybody else says of it.
    fn identity(&self, headers: &mut HeaderMap) {
        let Some(names) = &self.snapshot.identity_headers else {
            return;
        };
        remove_all(headers, names);
        let secured = self.connection.secured.iter();
        for (name, value) in secured.flat_map(|secured| &secured.identity) {
            headers.insert(name.clone(), value.clone());
        }
    }
}
