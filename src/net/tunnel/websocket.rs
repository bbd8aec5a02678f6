//! Where WebSocket frames begin and end (RFC 6455 section 5.2): just enough to say goodbye between
//! two of them.

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; 14],
    have: usize,
    payload: u64,
    closed: bool,
}

impl Frames {
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skip = self.payload.min(bytes.len() as u64);
                self.payload -= skip;
                bytes = &bytes[usize::try_from(skip).unwrap_or(bytes.len())..];
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have >= 2 && self.have == self.head_length() {
                self.closed |= self.head[0] & 0x0f == 0x8;
                self.payload = self.payload_length();
                self.have = 0;
            }
        }
    }

    /// May a frame of ours go here? Not within another, and not after a close.
    pub(super) fn between(&self) -> bool {
        self.have == 0 && self.payload == 0 && !self.closed
    }

    /// How many bytes may be read without one of the next frame among them.
    pub(super) fn to_read(&self) -> usize {
        usize::try_from(self.payload).unwrap_or(usize::MAX).max(1)
    }

    /// Has a close begun, if not ended?
    pub(super) fn closed(&self) -> bool {
        self.closed
    }

    /// Was the last frame a close, and is it whole?
    pub(super) fn finished(&self) -> bool {
        self.closed && self.have == 0 && self.payload == 0
    }

    fn head_length(&self) -> usize {
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn payload_length(&self) -> u64 {
        let long = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        match self.head[1] & 0x7f {
            126 => long(&self.head[2..4]),
            127 => long(&self.head[2..10]),
            short => u64::from(short),
        }
    }
}

/// "Going away", as servers say it.
pub(super) const CLOSE_TO_CLIENT: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// The same as clients say it: masked.
pub(super) fn close_to_server() -> [u8; 8] {
    let mask = fastrand::u32(..).to_be_bytes();
    [
        0x88,
        0x82,
        mask[0],
        mask[1],
        mask[2],
        mask[3],
        0x03 ^ mask[0],
        0xe9 ^ mask[1],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_found_however_the_bytes_are_cut() {
        let mut stream = vec![0x81, 0x03, b'a', b'b', b'c'];
        let mut ends = vec![0, stream.len()];
        stream.extend([0x82, 0xfe, 0x01, 0x00, 1, 2, 3, 4]);
        stream.extend([7; 256]);
        ends.push(stream.len());
        stream.extend([0x02, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        stream.extend([9; 65536]);
        ends.push(stream.len());
        stream.extend([0x89, 0x00]);
        ends.push(stream.len());
        for step in [1, 2, 3, 7, 1000] {
            let mut frames = Frames::default();
            let mut at = 0;
            for piece in stream.chunks(step) {
                assert!(!frames.finished());
                assert_eq!(frames.between(), ends.contains(&at), "step {step} at {at}");
                let next = ends.iter().find(|end| **end > at);
                assert!(next.is_none_or(|end| at + frames.to_read() <= *end));
                frames.advance(piece);
                at += piece.len();
            }
            assert!(frames.between());
            frames.advance(&CLOSE_TO_CLIENT);
            assert!(!frames.between(), "nothing follows a close");
            assert!(frames.finished(), "and it is the end");
        }
    }
}
