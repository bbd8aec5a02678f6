//! One client connection: its beginning, then HTTP/1.1 around the catch-all handler.

use std::sync::Arc;

use axum::body::Body;
use axum::handler::Handler;
use axum::response::Response;
use bytes::BytesMut;
use futures_util::future::{Either, ready};
use http::Request;

use super::handshake::{Begun, begin};
use super::introduction::introduce;
use super::workers::Accepted;
use crate::net::proxy_protocol::Ends;
use crate::proxy::{self, Worker};
use crate::wire::Refusal;
use crate::wire::server::{Handle, Interim, Refused, serve as serve_http1};

/// Serves requests until the client, a timeout, a drain or the end of the process ends it.
pub(super) async fn serve(accepted: Accepted, worker: Arc<Worker>) {
    let Accepted {
        stream,
        peer,
        listener,
        held,
    } = accepted;
    let Ok(mut stream) = stream.attach() else {
        return;
    };
    let closing = async {
        tokio::select! {
            // Until its turn an idle connection may ask once more, and is told that this was the
            // last: closed at once, it could just have been asking.
            () = listener.drain.turn() => {}
            () = worker.stopping.begun() => {}
        }
    };
    // Not to be taken for a unix socket, which may be trusted.
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let ends = peer.zip(local).map(|(source, destination)| Ends {
        source,
        destination,
    });
    let beginning = async {
        let (ends, early) = introduce(&mut stream, ends, &listener).await?;
        let begun = begin(stream, early, &listener, &worker.live).await?;
        Some((ends, begun))
    };
    let introduced = tokio::select! {
        biased;
        introduced = beginning => introduced,
        // Whoever has not even said for whom it comes, or under which keys, has asked nothing.
        () = listener.drain.over() => None,
        () = worker.stopping.begun() => None,
    };
    let Some((ends, begun)) = introduced else {
        return;
    };
    let (stream, early, secured, answers) = match begun {
        Begun::Clear(stream, early) => (stream, early, None, true),
        Begun::Secured(stream, secured) => (stream, BytesMut::new(), Some(secured), true),
        Begun::WantsTls(stream, early) => (stream, early, None, false),
    };
    let make = |interim: Interim| Requests {
        connection: Arc::new(proxy::Connection::new(
            Arc::clone(&worker),
            ends,
            Arc::clone(&listener),
            secured,
            interim,
            Arc::new(held),
        )),
        answers,
    };
    tokio::select! {
        () = serve_http1(stream, early, &listener.terms, make, closing) => {}
        () = listener.drain.over() => {}
        () = worker.stopping.over() => {}
    }
}

/// The requests of one connection: the catch-all handler with its state.
struct Requests {
    connection: Arc<proxy::Connection>,
    /// They may be asked here: they do not come in clear where TLS is spoken.
    answers: bool,
}

impl Handle for Requests {
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response> {
        if self.answers {
            let state = Arc::clone(&self.connection);
            Either::Left(Handler::call(proxy::handle, request, state))
        } else {
            Either::Right(ready(self.refuse(Refused::Rule(Refusal::NotHttps))))
        }
    }

    fn refuse(&self, refused: Refused) -> Response {
        proxy::refuse(&self.connection, refused)
    }
}
