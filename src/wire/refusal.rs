//! Why bytes are not taken as a message.

use http::StatusCode;

/// The rule that was broken. Each ends the connection: after it nobody can say where the next
/// message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub enum Refusal {
    RequestLine,
    TargetTooLong,
    Target,
    Version,
    StatusLine,
    HeaderName,
    HeaderValue,
    SpacedValue,
    LineEnd,
    TooManyHeaders,
    HeadTooLong,
    BothLengths,
    ContentLength,
    TransferEncoding,
    UnsupportedCoding,
    CodingInHttp10,
    Chunk,
    ChunkExtension,
    Trailers,
    NotHttps,
}

impl Refusal {
    /// What a client is told. A refusal of an upstream's answer is always 502.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyHeaders | Self::HeadTooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::UnsupportedCoding => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// For whoever sent it, and for the log.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::RequestLine => "the request line is malformed",
            Self::TargetTooLong => "the request line is longer than allowed",
            Self::Target => "the request target has not the form that its method asks for",
            Self::Version => "the version is not HTTP/1.0 or HTTP/1.1",
            Self::StatusLine => "the status line is malformed",
            Self::HeaderName => "a header name is malformed",
            Self::HeaderValue => "a header value holds a control character",
            Self::SpacedValue => "a header value begins or ends with a space",
            Self::LineEnd => "a line ends in something other than CR LF",
            Self::TooManyHeaders => "the head has more fields than allowed",
            Self::HeadTooLong => "the head is longer than allowed",
            Self::BothLengths => "both Content-Length and Transfer-Encoding are given",
            Self::ContentLength => "Content-Length is not one number",
            Self::TransferEncoding => {
                "Transfer-Encoding is given more than once, or chunked is not its last coding"
            }
            Self::UnsupportedCoding => "a transfer coding other than chunked is not supported",
            Self::CodingInHttp10 => "Transfer-Encoding is given with HTTP/1.0, which has none",
            Self::Chunk => "a chunk is malformed",
            Self::ChunkExtension => "a chunk extension is longer than allowed",
            Self::NotHttps => "this port speaks HTTPS; ask again with https://",
            Self::Trailers => "the trailers are malformed or longer than allowed",
        }
    }
}
