//! The URL of an upstream's server.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::uri::{Authority, PathAndQuery};

use super::address::{UNIX, socket_path};

/// The URL of the origin that is built in for trying things out.
pub const DEMO: &str = "builtin:demo";

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP/1.1 in clear.
    Http,
    /// HTTP/2 in clear, without asking first (RFC 9113 section 3.3).
    H2c,
    /// TLS, and within it what the handshake agrees on.
    Https,
}

impl Scheme {
    /// As it is written in a URL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2c => "h2c",
            Self::Https => "https",
        }
    }

    /// The port that need not be written.
    pub const fn port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

/// The host alone, without the brackets of an IPv6 address.
pub fn bare_host(authority: &Authority) -> &str {
    authority.host().trim_matches(['[', ']'])
}

/// Where a server is, and what it speaks: `http://HOST[:PORT][/PATH]`, `https://...`, `h2c://...`,
/// `unix:/SOCKET[:/PATH]`, or `builtin:demo`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    text: String,
    target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Demo,
    Http {
        scheme: Scheme,
        authority: Authority,
        path: String,
    },
    Unix {
        socket: PathBuf,
        path: String,
    },
}

impl Url {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port to connect to; none for a unix socket, and for the demo origin, whose port is
    /// known only at run time.
    pub fn authority(&self) -> Option<&Authority> {
        match &self.target {
            Target::Http { authority, .. } => Some(authority),
            Target::Demo | Target::Unix { .. } => None,
        }
    }

    /// In clear and HTTP/1.1, where the URL does not say.
    pub fn scheme(&self) -> Scheme {
        match self.target {
            Target::Http { scheme, .. } => scheme,
            Target::Demo | Target::Unix { .. } => Scheme::Http,
        }
    }

    /// The path of the unix socket to connect to, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match &self.target {
            Target::Unix { socket, .. } => Some(socket),
            Target::Demo | Target::Http { .. } => None,
        }
    }

    /// The path put before every request's, without a slash at its end; mostly empty.
    pub fn base_path(&self) -> &str {
        match &self.target {
            Target::Demo => "",
            Target::Http { path, .. } | Target::Unix { path, .. } => path,
        }
    }
}

impl Target {
    /// `/SOCKET`, or `/SOCKET:/PATH`.
    fn unix(place: &str) -> Result<Self, &'static str> {
        let (socket, path) = match place.find(":/") {
            Some(colon) => (&place[..colon], &place[colon + 1..]),
            None => (place, "/"),
        };
        let socket = socket_path(socket)?;
        let path: PathAndQuery = path
            .parse()
            .map_err(|_| "has a path that no URL can have")?;
        if path.query().is_some() || place.contains('#') {
            return Err("has a query or fragment, which cannot be joined to a request's");
        }
        let path = path.path().trim_end_matches('/').to_owned();
        Ok(Self::Unix { socket, path })
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == DEMO {
            return Ok(Self {
                text: text.to_owned(),
                target: Target::Demo,
            });
        }
        if let Some(place) = text.strip_prefix(UNIX) {
            let target = Target::unix(place).map_err(|why| {
                format!(
                    "`{text}` {why}; write \"unix:/run/app.sock\", or \"http://127.0.0.1:3000\""
                )
            })?;
            return Ok(Self {
                text: text.to_owned(),
                target,
            });
        }
        let wrong =
            |why: &str| format!("`{text}` {why}; write a URL such as \"http://127.0.0.1:3000\"");
        let uri: http::Uri = text.parse().map_err(|_| wrong("is not a URL"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("h2c") => Scheme::H2c,
            Some("https") => Scheme::Https,
            Some(_) => return Err(wrong("has a scheme that is not http, https or h2c")),
            None => return Err(wrong("has no scheme")),
        };
        let authority = uri
            .authority()
            .cloned()
            .ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "holds a user name, which a URL of an upstream cannot",
            ));
        }
        if authority.host().is_empty() {
            return Err(wrong("names no host"));
        }
        // `http` reads "host:", "host:99999" and "host:abc" without complaint.
        let port = authority
            .as_str()
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'));
        if port.is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(wrong("has a port that is not a number from 1 to 65535"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong(
                "has a query or fragment, which cannot be joined to a request's",
            ));
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self {
            text: text.to_owned(),
            target: Target::Http {
                scheme,
                authority,
                path,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_a_host_and_perhaps_a_path() {
        let url: Url = "http://app:3000/v2/".parse().unwrap();
        assert_eq!(url.authority().unwrap().as_str(), "app:3000");
        assert_eq!(url.base_path(), "/v2");
        let url: Url = "http://[::1]:3000".parse().unwrap();
        assert_eq!(
            (url.authority().unwrap().as_str(), url.base_path()),
            ("[::1]:3000", "")
        );
    }

    #[test]
    fn a_unix_socket_may_have_a_path_after_it() {
        let table = [
            ("unix:/run/app.sock", "/run/app.sock", ""),
            ("unix:/run/app.sock:/", "/run/app.sock", ""),
            ("unix:/run/app:1.sock:/v2/", "/run/app:1.sock", "/v2"),
        ];
        for (text, socket, path) in table {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.socket(), Some(Path::new(socket)), "{text}");
            assert_eq!((url.base_path(), url.authority()), (path, None), "{text}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_what_to_write() {
        let wrong = [
            "127.0.0.1:3000",
            "app",
            "ftp://a",
            "wss://a",
            "http://",
            "http://u:p@a",
            "http://a:x",
            "http://a:99999",
            "http://a/?q",
            "http://a/#f",
            "builtin:other",
            "unix:",
            "unix:app.sock",
            "unix://run/app.sock:/v2?q",
            "unix:/run/app.sock:/v2#f",
            "",
        ];
        for text in wrong {
            let error = text.parse::<Url>().expect_err(text);
            assert!(error.contains("http://127.0.0.1:3000"), "{text}: {error}");
        }
    }
}
