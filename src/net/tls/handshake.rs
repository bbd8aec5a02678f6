//! What both sides of a handshake do: send, read, and so on until it has ended.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::super::plain::PlainWrite;
use super::stream::{SCRATCH, Session};

impl Session {
    /// Speaks with the peer until the handshake has ended. An error of the socket is none of TLS.
    pub(super) fn poll_handshake(
        &mut self,
        write: &PlainWrite,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Option<rustls::Error>>> {
        loop {
            ready!(self.poll_send(write, cx)).map_err(|_| None)?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let fed = ready!(self.poll_handshake_input(cx)).map_err(|_| None)?;
            if let Err(error) = fed {
                let _ = self.send(write);
                return Poll::Ready(Err(Some(error)));
            }
        }
    }

    /// Reads from the socket and takes all of it in, up to the end of the handshake.
    fn poll_handshake_input(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Result<(), rustls::Error>>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut raw = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.read).poll_read(cx, &mut raw))?;
            let mut rest = raw.filled();
            if rest.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let mut fed = Ok(());
            while fed.is_ok() && !rest.is_empty() && self.tls.is_handshaking() {
                fed = self.feed(&mut rest);
            }
            self.raw.extend_from_slice(rest);
            Poll::Ready(Ok(fed))
        })
    }
}
