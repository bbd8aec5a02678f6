//! The `Date` of answers that have none, made once a second.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;

thread_local! {
    static LAST: RefCell<(u64, HeaderValue)> = const {
        RefCell::new((0, HeaderValue::from_static("")))
    };
}

pub(super) fn now() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|(last, value)| {
        if *last != second {
            let text = httpdate::fmt_http_date(now);
            *value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
            *last = second;
        }
        value.clone()
    })
}
