//! What happened, told to people and machines: the Record of each request, the access log, the
//! application log.

mod access;
mod format;
mod logs;
mod record;
mod trace;

pub(crate) use access::{AccessLine, AccessSink};
pub(crate) use logs::Logs;
pub(crate) use record::{Outcome, Received, Record, Recorder};
pub(crate) use trace::RequestId;
