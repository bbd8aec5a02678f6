//! Small damage to bytes, of the kinds that parsers have fallen over.

use fastrand::Rng;

/// Bytes and runs of bytes that delimit something for somebody.
const TELLING: [&[u8]; 26] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"=",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\"",
    b"%",
    b"/",
    b"#",
    b"\\",
    b"0",
    b"+",
    b"-",
    b"\r\n ",
    b"_",
    b"9",
];

/// Changes bytes in one to four places.
pub(crate) fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..5) {
        once(rng, bytes);
    }
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.usize(0..=bytes.len());
    let end = (at + rng.usize(1..16)).min(bytes.len());
    match rng.u8(0..8) {
        0 if at < bytes.len() => bytes[at] = rng.u8(..),
        1 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            let to = rng.usize(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        5 if at < bytes.len() => {
            let telling = TELLING[rng.usize(..TELLING.len())];
            bytes.splice(at..=at, telling.iter().copied());
        }
        6 if rng.u8(0..4) == 0 => bytes.truncate(at),
        _ => {
            let telling = TELLING[rng.usize(..TELLING.len())];
            bytes.splice(at..at, telling.iter().copied());
        }
    }
}
