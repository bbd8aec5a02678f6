//! Where a head ends, and what tells early that it is none.

use memchr::memmem::find;
use memchr::{memchr, memrchr};

use super::{Limits, Refusal};

/// Longer than most heads are.
const LONG: usize = 4 * 1024;

/// A long head that comes in many pieces is not parsed anew with each of them.
pub(super) fn is_worth_parsing(buffer: &[u8]) -> bool {
    buffer.len() < LONG || find(buffer, b"\r\n\r\n").is_some()
}

/// Is this a head to us too, and not just to httparse, which takes a bare LF for the end of a line
/// and skips all empty lines before the first?
pub(super) fn is_sound(buffer: &[u8], end: usize, limits: &Limits) -> bool {
    end <= limits.head && has_sound_lines(&buffer[..end]) && buffer[0] != b'\r'
}

/// Where the head ends. Lines end in CR LF and nothing else: what one parser takes for the end of a
/// line and another for part of it is how requests are smuggled. A CR within a line is for httparse
/// to refuse, which looks at every byte anyway.
pub(super) fn head_end(bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
    let within = &bytes[..bytes.len().min(limits.head)];
    let end = match within.starts_with(b"\r\n") {
        true => Some(2),
        false => find(within, b"\r\n\r\n").map(|at| at + 4),
    };
    if !has_sound_lines(&within[..end.unwrap_or(within.len())]) {
        return Err(Refusal::LineEnd);
    }
    if end.is_some() {
        return Ok(end);
    }
    let unfinished = &within[memrchr(b'\n', within).map_or(0, |at| at + 1)..];
    if memchr(b'\r', unfinished).is_some_and(|at| at + 1 < unfinished.len()) {
        return Err(Refusal::LineEnd);
    }
    // All of it may be the unfinished end of a line, but not of a longer head.
    if bytes.len() >= limits.head {
        Err(Refusal::HeadTooLong)
    } else {
        Ok(None)
    }
}

/// Is there a CR before each LF?
fn has_sound_lines(bytes: &[u8]) -> bool {
    let after = bytes.get(1..).unwrap_or_default();
    // No early end: so many bytes are looked at in one instruction.
    let bare = bytes.iter().zip(after).fold(false, |bare, (before, byte)| {
        bare | (*byte == b'\n') & (*before != b'\r')
    });
    !bare && bytes.first() != Some(&b'\n')
}

/// Method and version take few bytes beside the target.
pub(super) fn is_line_too_long(bytes: &[u8], limits: &Limits) -> bool {
    let room = limits.target + 64;
    bytes.len() > room && memchr(b'\n', &bytes[..room]).is_none()
}

/// Refuses early what no further bytes could mend.
pub(super) fn check_unfinished(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    if is_line_too_long(bytes, limits) {
        return Err(Refusal::TargetTooLong);
    }
    // TLS does not begin like a method. What follows the method may be no ASCII.
    let begins = bytes
        .iter()
        .take(16)
        .take_while(|byte| !matches!(byte, b'\r' | b' '))
        .all(u8::is_ascii_graphic);
    begins.then_some(()).ok_or(Refusal::RequestLine)
}
