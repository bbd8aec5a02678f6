//! What else a route asks of a request, besides host and path.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};

/// All of these must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Predicates {
    /// Sorted; empty is every method.
    pub methods: Vec<Method>,
    /// Sorted by name; none is any value.
    pub headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Sorted by name; none is any value.
    pub query: Vec<(String, Option<String>)>,
}

impl Predicates {
    pub fn hold(&self, head: &Parts) -> bool {
        self.takes(&head.method)
            && self
                .headers
                .iter()
                .all(|(name, value)| has_header(head, name, value.as_ref()))
            && self
                .query
                .iter()
                .all(|(name, value)| has_query(head, name, value.as_deref()))
    }

    pub(super) fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// The more is asked, the more specific. The last two only make the order one that does not
    /// depend on the file's: two that are equal in all are the same predicates.
    pub(super) fn specificity(&self) -> impl Ord {
        let methods = match self.methods.len() {
            0 => usize::MAX,
            count => count,
        };
        let headers = self.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.as_ref()))
            .collect();
        (
            !self.methods.is_empty(),
            self.headers.len(),
            self.query.len(),
            std::cmp::Reverse(methods),
            format!("{headers:?}"),
            format!("{:?}{:?}", self.query, self.methods),
        )
    }
}

fn has_header(head: &Parts, name: &HeaderName, value: Option<&HeaderValue>) -> bool {
    match value {
        None => head.headers.contains_key(name),
        Some(value) => head
            .headers
            .get_all(name)
            .iter()
            .any(|given| given == value),
    }
}

/// The bytes of the query as sent, cut at `&` and `=`; nothing is decoded.
fn has_query(head: &Parts, name: &str, value: Option<&str>) -> bool {
    let query = head.uri.query().unwrap_or_default();
    query.split('&').any(|pair| {
        let (given, given_value) = pair.split_once('=').unwrap_or((pair, ""));
        given == name && value.is_none_or(|value| value == given_value)
    })
}
