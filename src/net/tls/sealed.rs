//! What was encrypted of the bytes that somebody writes, and is not yet sent whole.

use std::io;

/// What a full record carries, and its greatest length on the wire (RFC 5246 section 6.2.3, with the
/// nonce of AES-GCM; records of TLS 1.3 are shorter).
const FRAGMENT: usize = 16 * 1024;
pub(super) const RECORD: usize = 5 + 8 + FRAGMENT + 16;

#[derive(Debug, Default)]
pub(super) struct Sealed {
    plain: usize,
    /// Of these, as many as their writer was told are written.
    told: usize,
    /// Bytes sent of the records that hold them.
    sent: usize,
}

impl Sealed {
    pub(super) fn new(plain: usize) -> Self {
        Self {
            plain,
            told: 0,
            sent: 0,
        }
    }

    /// Is there room for more, nothing being on its way?
    pub(super) fn is_open(&self) -> bool {
        self.plain == 0
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
    }

    /// How many bytes more are written, now that sending ended so.
    pub(super) fn tell(&mut self, sent: io::Result<()>) -> io::Result<usize> {
        match sent {
            Ok(()) => {
                let Self { plain, told, .. } = std::mem::take(self);
                Ok(plain - told)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A client that takes one record now and then is slow and not gone.
                let whole = (self.sent / RECORD * FRAGMENT).min(self.plain);
                match whole.saturating_sub(self.told) {
                    0 => Err(error),
                    more => {
                        self.told = whole;
                        Ok(more)
                    }
                }
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked() -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[test]
    fn records_are_told_one_by_one_and_every_byte_once() {
        // As TLS 1.3 makes them, shorter than the longest.
        let record = 5 + FRAGMENT + 1 + 16;
        let plain = 3 * FRAGMENT + 100;
        let mut sealed = Sealed::new(plain);
        assert!(!sealed.is_open());
        let mut written = 0;
        let steps = [
            (record - 1, None),
            (50, Some(FRAGMENT)),
            (record, Some(FRAGMENT)),
            (20, None),
            (record, Some(FRAGMENT)),
        ];
        for (sent, expected) in steps {
            sealed.sent(sent);
            let told = sealed.tell(blocked()).ok();
            assert_eq!(told, expected, "after {sent} bytes more");
            written += told.unwrap_or(0);
        }
        sealed.sent(1000);
        assert_eq!(written + sealed.tell(Ok(())).unwrap(), plain);
        assert!(sealed.is_open());
    }

    #[test]
    fn what_broke_is_no_pause() {
        let mut sealed = Sealed::new(FRAGMENT);
        sealed.sent(RECORD);
        let broken = Err(io::ErrorKind::BrokenPipe.into());
        assert!(sealed.tell(broken).is_err());
    }
}
