//! The PROXY header of a connection, read on its worker before anything else.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::net::Plain;
use crate::net::proxy_protocol::{Ends, read};
use crate::snapshot::Listener;

/// How often one listener may complain in the log. The metrics count all of it.
const PAUSE: Duration = Duration::from_secs(10);
/// Room for the longest header, and mostly for the first request with it.
const ROOM: usize = 1024;

/// Who really connected, and what was read beyond the header. A peer that was not told to send one is
/// who it is, and sends its first request.
pub(super) async fn introduce(
    stream: &mut Plain,
    ends: Option<Ends>,
    listener: &Listener,
) -> Option<(Option<Ends>, BytesMut)> {
    let peer = ends.map(|ends| ends.source.ip());
    match &listener.proxy_protocol {
        Some(from) if from.contains(peer) => {}
        _ => return Some((ends, BytesMut::new())),
    }
    let reading = read_header(stream);
    let why = match timeout(listener.terms.header_timeout, reading).await {
        Ok(Ok((told, early))) => return Some((told.or(ends), early)),
        // A health check that only connects.
        Ok(Err(Absent::Closed)) => return None,
        Ok(Err(Absent::Malformed)) => "malformed",
        Err(_) => "late",
    };
    listener.row.refuse();
    if listener.complaint.is_due(PAUSE) {
        tracing::warn!(
            listener = listener.name,
            peer = peer.map(tracing::field::display),
            why,
            "closed a connection without a sound PROXY header; all are counted, few are logged"
        );
    }
    None
}

enum Absent {
    /// Nothing was sent at all.
    Closed,
    Malformed,
}

async fn read_header(stream: &mut Plain) -> Result<(Option<Ends>, BytesMut), Absent> {
    let mut input = BytesMut::with_capacity(ROOM);
    loop {
        match stream.read_buf(&mut input).await {
            Ok(1..) => {}
            _ if input.is_empty() => return Err(Absent::Closed),
            Ok(0) | Err(_) => return Err(Absent::Malformed),
        }
        if let Some((told, length)) = read(&input).map_err(|_| Absent::Malformed)? {
            input.advance(length);
            if input.is_empty() {
                // Waiting for the request costs no buffer.
                input = BytesMut::new();
            }
            return Ok((told, input));
        }
    }
}
