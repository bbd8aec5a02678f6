//! What hyper's server makes of a stream, in memory.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy, duplex, sink, split};
use tokio::runtime::{Builder, Runtime};

use super::ours::{fields, version_text};
use super::{End, Message, Reading};

pub(super) struct Server(Runtime);

impl Server {
    pub(super) fn new() -> Self {
        let runtime = Builder::new_current_thread().build();
        Self(runtime.expect("a runtime without any driver"))
    }

    pub(super) fn requests(&self, stream: &[u8]) -> Reading {
        let reading = Rc::new(RefCell::new(Reading::default()));
        let result = self.0.block_on(serve(stream, &reading));
        let mut reading = reading.take();
        if let (Err(error), End::Waits) = (result, &reading.end) {
            reading.end = end(&error);
        }
        reading
    }
}

async fn serve(stream: &[u8], reading: &Rc<RefCell<Reading>>) -> hyper::Result<()> {
    let (client, server) = duplex(64 * 1024);
    let (mut answers, mut requests) = split(client);
    let service = service_fn(|request| note(request, Rc::clone(reading)));
    // What follows the end of the stream is not that the client has left.
    let connection = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(server), service);
    let feed = async {
        // It may have refused and closed before it had all.
        let _ = requests.write_all(stream).await;
        let _ = requests.shutdown().await;
    };
    let mut nowhere = sink();
    tokio::join!(connection, feed, copy(&mut answers, &mut nowhere)).0
}

async fn note(
    request: Request<Incoming>,
    reading: Rc<RefCell<Reading>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut answer = Response::new(Empty::new());
    // A tunnel would end the reading.
    if head.method == Method::CONNECT {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
    }
    let collected = match body.collect().await {
        Ok(collected) => collected,
        Err(error) => {
            reading.borrow_mut().end = end(&error);
            return Ok(answer);
        }
    };
    let trailers = collected.trailers().map(fields).unwrap_or_default();
    reading.borrow_mut().messages.push(Message {
        line: vec![
            head.method.as_str().into(),
            head.uri.to_string().into_bytes(),
            version_text(head.version),
        ],
        fields: fields(&head.headers),
        body: collected.to_bytes().to_vec(),
        trailers,
        ..Message::default()
    });
    Ok(answer)
}

/// The stream ended before the message did, or hyper says what it dislikes.
fn end(error: &hyper::Error) -> End {
    let source = std::error::Error::source(error);
    let inner = source.and_then(|source| source.downcast_ref::<io::Error>());
    let cut = inner.is_some_and(|inner| inner.kind() == io::ErrorKind::UnexpectedEof);
    if cut || error.is_incomplete_message() {
        End::Waits
    } else {
        let cause = source.map(|source| format!(": {source}"));
        End::Refused(format!("{error}{}", cause.unwrap_or_default()))
    }
}
