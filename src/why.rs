//! The fixed vocabulary of how a request ended: the log's `why`, the metric's `why` label and the
//! `x-pointsman-error` header all say the same word.

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Answered whole; the status says what the answer was.
    Ok,
    /// No route matches.
    NoRoute,
    /// The `Host` is missing, repeated or malformed.
    BadHost,
    /// The bytes are no sound request, or a header rule made a value that cannot be sent.
    BadRequest,
    /// A dot segment, a NUL or a broken percent-escape in the path.
    BadPath,
    /// The client did not send the head of its request in time.
    RequestTimeout,
    /// The client stopped in the middle of the body of its request.
    BodyTimeout,
    /// The body of the request is larger than the route allows.
    BodyTooLarge,
    /// The handshake was for a site that asks something else of its clients than the one in `Host`.
    Misdirected,
    /// The client's address is one that may not pass.
    DeniedIp,
    /// The request asks for something this proxy does not do, as CONNECT on a reverse listener.
    Unsupported,
    /// The upstream's address refuses connections.
    ConnectRefused,
    /// The upstream did not accept the connection in time.
    ConnectTimeout,
    /// The upstream's name did not resolve, or its network cannot be reached.
    ConnectFailed,
    /// The upstream and we could not agree on TLS: mostly, its certificate is not to be trusted.
    UpstreamTls,
    /// The upstream did not answer in time.
    HeaderTimeout,
    /// All of it, from the request's head to the answer's last byte, took longer than the route allows.
    TotalTimeout,
    /// A call of gRPC took longer than its caller wanted to wait.
    DeadlineExceeded,
    /// The upstream stopped in the middle of its answer.
    UpstreamStalled,
    /// The upstream closed or reset the connection before its answer.
    UpstreamReset,
    /// The upstream's answer is not HTTP that can be forwarded.
    UpstreamInvalid,
    /// The upstream's answer ended before its end.
    UpstreamTruncated,
    /// The client left first.
    ClientGone,
    /// The client stopped reading the answer.
    ClientStalled,
    /// The route or the listener was changed or removed, or the process stops, and the time for what
    /// was under way is over.
    Draining,
    /// Nothing passed through a tunnel for as long as the route allows.
    TunnelIdle,
}

impl Why {
    /// Every word, in the order of [`Why::index`].
    pub const ALL: [Self; 26] = [
        Self::Ok,
        Self::NoRoute,
        Self::BadHost,
        Self::BadRequest,
        Self::BadPath,
        Self::RequestTimeout,
        Self::BodyTimeout,
        Self::BodyTooLarge,
        Self::Misdirected,
        Self::DeniedIp,
        Self::Unsupported,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::UpstreamTls,
        Self::HeaderTimeout,
        Self::TotalTimeout,
        Self::DeadlineExceeded,
        Self::UpstreamStalled,
        Self::UpstreamReset,
        Self::UpstreamInvalid,
        Self::UpstreamTruncated,
        Self::ClientGone,
        Self::ClientStalled,
        Self::Draining,
        Self::TunnelIdle,
    ];

    pub const fn index(self) -> usize {
        self as usize
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoRoute => "no_route",
            Self::BadHost => "bad_host",
            Self::BadRequest => "bad_request",
            Self::BadPath => "bad_path",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::Misdirected => "misdirected",
            Self::DeniedIp => "denied_ip",
            Self::Unsupported => "unsupported",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::UpstreamTls => "upstream_tls",
            Self::HeaderTimeout => "header_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::UpstreamStalled => "upstream_stalled",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::UpstreamTruncated => "upstream_truncated",
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::Draining => "draining",
            Self::TunnelIdle => "tunnel_idle",
        }
    }

    /// The same in gRPC, by the numbers of its codes; none of what was well, which has one of its own.
    pub const fn grpc_code(self) -> Option<u8> {
        const CANCELLED: u8 = 1;
        const DEADLINE_EXCEEDED: u8 = 4;
        const PERMISSION_DENIED: u8 = 7;
        const RESOURCE_EXHAUSTED: u8 = 8;
        const UNIMPLEMENTED: u8 = 12;
        const INTERNAL: u8 = 13;
        const UNAVAILABLE: u8 = 14;
        Some(match self {
            Self::Ok => return None,
            Self::NoRoute | Self::Unsupported => UNIMPLEMENTED,
            Self::DeniedIp => PERMISSION_DENIED,
            Self::BodyTooLarge => RESOURCE_EXHAUSTED,
            Self::RequestTimeout
            | Self::BodyTimeout
            | Self::ConnectTimeout
            | Self::HeaderTimeout
            | Self::TotalTimeout
            | Self::DeadlineExceeded => DEADLINE_EXCEEDED,
            Self::ClientGone | Self::ClientStalled => CANCELLED,
            Self::BadHost | Self::BadRequest | Self::BadPath => INTERNAL,
            // Another try, by another connection or later, may do.
            Self::Misdirected
            | Self::ConnectRefused
            | Self::ConnectFailed
            | Self::UpstreamTls
            | Self::UpstreamStalled
            | Self::UpstreamReset
            | Self::UpstreamInvalid
            | Self::UpstreamTruncated
            | Self::Draining
            | Self::TunnelIdle => UNAVAILABLE,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Why;

    #[test]
    fn an_index_finds_its_word_again() {
        for why in Why::ALL {
            assert_eq!(Why::ALL[why.index()], why);
        }
    }
}
