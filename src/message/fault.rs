//! Why a body is broken off on its way through.

use std::error::Error;

/// What the proxy has against the body of a request. It travels as the source of other errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    #[error("the body is larger than the route allows")]
    TooLarge,
    #[error("the body did not come in time")]
    Stalled,
}

/// The first of an error and its causes that is of this type.
pub fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<E>())
}

/// An error with all that led to it.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut told = String::new();
    for cause in causes.map(ToString::to_string) {
        // Many tell what led to them themselves.
        if told.contains(&cause) {
            continue;
        }
        if !told.is_empty() {
            told.push_str(": ");
        }
        told.push_str(&cause);
    }
    told
}
