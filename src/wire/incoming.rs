//! The body of a message as it arrives, by whatever delimits it.

use std::io;

use bytes::{Bytes, BytesMut};
use http_body::Frame;

use super::chunked::{Decoded, Decoder};
use super::{BodyLength, Refusal};

/// What is still to come of a body.
#[derive(Debug, Default)]
pub(super) enum Incoming {
    #[default]
    Done,
    Known(u64),
    Chunked(Decoder),
    UntilClose,
}

/// What a step gave.
#[derive(Debug)]
pub(super) enum Step {
    Frame(Frame<Bytes>),
    End,
    /// Nothing without more bytes.
    Starved,
}

impl From<BodyLength> for Incoming {
    fn from(length: BodyLength) -> Self {
        match length {
            BodyLength::Empty => Self::Done,
            BodyLength::Known(length) => Self::Known(length),
            BodyLength::Chunked => Self::Chunked(Decoder::default()),
            BodyLength::UntilClose => Self::UntilClose,
        }
    }
}

impl Incoming {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Takes the next piece off the front of `buffer`.
    pub(super) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Refusal> {
        match self {
            Self::Done => Ok(Step::End),
            Self::Known(_) | Self::UntilClose if buffer.is_empty() => Ok(Step::Starved),
            Self::UntilClose => Ok(Step::Frame(Frame::data(buffer.split().freeze()))),
            Self::Known(left) => {
                let take = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                self.took(take as u64);
                Ok(Step::Frame(Frame::data(buffer.split_to(take).freeze())))
            }
            Self::Chunked(decoder) => Ok(match decoder.decode(buffer)? {
                Decoded::Data(data) => Step::Frame(Frame::data(data)),
                Decoded::Incomplete => Step::Starved,
                Decoded::End(trailers) => {
                    *self = Self::Done;
                    if trailers.is_empty() {
                        Step::End
                    } else {
                        Step::Frame(Frame::trailers(trailers))
                    }
                }
            }),
        }
    }

    /// So many bytes were taken by other ways.
    pub(super) fn took(&mut self, bytes: u64) {
        if let Self::Known(left) = self {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                *self = Self::Done;
            }
        }
    }

    /// The stream has ended; was that the end of the body?
    pub(super) fn ended(&mut self) -> io::Result<()> {
        match self {
            Self::Done | Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            Self::Known(_) | Self::Chunked(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Bytes to come, where that is known.
    pub(super) fn exact(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Known(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }
}
