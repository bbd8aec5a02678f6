//! Texts with variables: `"https://{host}{uri}"`.

use std::net::IpAddr;

use super::Target;
use crate::config::UNIX;

/// A text cut into its pieces when the snapshot is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Variable {
    ClientIp,
    Host,
    Method,
    Path,
    PathPart(String),
    Query,
    RequestId,
    Route,
    Scheme,
    Uri,
}

/// Every variable, for messages and documentation.
pub const VARIABLES: &str = "{client_ip} {host} {method} {path} {path.NAME} {query} {request_id} \
                             {route} {scheme} {uri}";

/// What the variables of one request stand for.
pub struct Variables<'a> {
    pub target: &'a Target<'a>,
    pub method: &'a str,
    /// None if it came by a unix socket.
    pub client_ip: Option<IpAddr>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Made only if it is asked for.
    pub request_id: &'a (dyn Fn() -> &'a str + Sync),
    pub route: &'a str,
    /// The part of the path that a pattern's `{name}` took, as the client sent it.
    pub part: &'a (dyn Fn(&str) -> &'a str + Sync),
}

impl Template {
    /// `parts` are the `{names}` of the route's path patterns. `{{` is a plain `{`.
    pub fn parse(text: &str, parts: &[&str]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            plain.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('{') {
                plain.push('{');
                rest = after;
                continue;
            }
            let end = rest
                .find('}')
                .ok_or("`{` without its `}`; a plain `{` is written `{{`")?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Variable(Variable::parse(&rest[..end], parts)?));
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The text itself if it has no variables.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub fn render(&self, variables: &Variables<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Variable(variable) => variable.push(variables, &mut text),
            }
        }
        text
    }
}

impl Variable {
    fn parse(name: &str, parts: &[&str]) -> Result<Self, String> {
        Ok(match name {
            "client_ip" => Self::ClientIp,
            "host" => Self::Host,
            "method" => Self::Method,
            "path" => Self::Path,
            "query" => Self::Query,
            "request_id" => Self::RequestId,
            "route" => Self::Route,
            "scheme" => Self::Scheme,
            "uri" => Self::Uri,
            _ => match name.strip_prefix("path.") {
                Some(part) if parts.contains(&part) => Self::PathPart(part.to_owned()),
                Some(part) => return Err(format!("no path of this route has a part `{{{part}}}`")),
                None => {
                    return Err(format!(
                        "`{{{name}}}` is not a variable; these are: {VARIABLES}"
                    ));
                }
            },
        })
    }

    fn push(&self, variables: &Variables<'_>, text: &mut String) {
        let target = variables.target;
        match self {
            Self::ClientIp => match variables.client_ip {
                Some(address) => text.push_str(&address.to_string()),
                None => text.push_str(UNIX),
            },
            Self::Host => text.push_str(target.host()),
            Self::Method => text.push_str(variables.method),
            Self::Path => text.push_str(target.raw_path()),
            Self::PathPart(name) => text.push_str((variables.part)(name)),
            Self::Query => text.push_str(target.query().unwrap_or_default()),
            Self::RequestId => text.push_str((variables.request_id)()),
            Self::Route => text.push_str(variables.route),
            Self::Scheme => text.push_str(variables.scheme),
            Self::Uri => {
                text.push_str(target.raw_path());
                if let Some(query) = target.query() {
                    text.push('?');
                    text.push_str(query);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_for_what_the_request_says() {
        let request = http::Request::get("/users/a%2Fb?x=1").header("host", "A.example:80");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let target = Target::parse(&head).unwrap();
        let variables = Variables {
            target: &target,
            method: "GET",
            client_ip: "192.0.2.1".parse().ok(),
            scheme: "http",
            request_id: &|| "r1",
            route: "users",
            part: &|_| "a%2Fb",
        };
        let table = [
            ("plain {{x}", "plain {x}"),
            ("{scheme}://{host}{uri}", "http://a.example/users/a%2Fb?x=1"),
            (
                "{client_ip} {request_id} {route} {method}",
                "192.0.2.1 r1 users GET",
            ),
            ("[{path.id}] {path} {query}", "[a%2Fb] /users/a%2Fb x=1"),
        ];
        for (text, expected) in table {
            let template = Template::parse(text, &["id"]).unwrap();
            assert_eq!(template.render(&variables), expected, "{text}");
        }
    }

    #[test]
    fn unknown_variables_are_refused() {
        for text in ["{", "{x", "{nope}", "{path.nope}", "{}"] {
            assert!(Template::parse(text, &["id"]).is_err(), "{text}");
        }
    }
}
