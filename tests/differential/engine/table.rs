//! Every disagreement there may be, each with its reason.
//!
//! Where we refuse what another takes, nothing is forwarded and nobody can be misled. Where we take
//! what another refuses, the reason says why that is harmless. To read the same bytes as different
//! messages has no place here: `Difference::is_dangerous`.

use super::compare::Difference;

pub(super) struct Rule {
    peers: &'static [&'static str],
    ours: &'static str,
    /// How what they do begins.
    theirs: &'static str,
    why: &'static str,
}

impl Rule {
    pub(super) fn name(&self, peer: &str) -> String {
        let Self {
            ours, theirs, why, ..
        } = self;
        let theirs = match *theirs {
            "" => "takes or waits",
            "refuses: " => "refuses",
            theirs => theirs,
        };
        format!("{peer}: ours {ours}, theirs {theirs}. {why}")
    }
}

const ALL: &[&str] = &["httparse", "hyper", "h11"];
const LAX: &[&str] = &["httparse", "hyper"];
const HYPER: &[&str] = &["hyper"];
const H11: &[&str] = &["h11"];
const HTTPARSE_AND_H11: &[&str] = &["httparse", "h11"];

const fn rule(
    peers: &'static [&'static str],
    ours: &'static str,
    theirs: &'static str,
    why: &'static str,
) -> Rule {
    Rule {
        peers,
        ours,
        theirs,
        why,
    }
}

const RULES: [Rule; 35] = [
    rule(
        ALL,
        "refuses: LineEnd",
        "",
        "A bare LF ends a line for them, as RFC 9112 section 2.2 \
        allows, and a CR may be part of one: two readings of one line hide requests",
    ),
    rule(
        LAX,
        "refuses: RequestLine",
        "",
        "They skip any number of empty lines before a request; \
        section 2.2 asks for one",
    ),
    rule(
        H11,
        "refuses: RequestLine",
        "waits",
        "It looks at a first line that cannot become one \
        only when it is whole",
    ),
    rule(
        HTTPARSE_AND_H11,
        "refuses: StatusLine",
        "",
        "httparse skips an empty line before a status \
        line and takes codes below 100; h11 takes control characters in the reason",
    ),
    rule(
        ALL,
        "refuses: Target",
        "",
        "They do not look at the form of a target, which depends on \
        the method (section 3.2), nor at fragments and backslashes",
    ),
    rule(
        H11,
        "refuses: Version",
        "",
        "It takes any digit, dot, digit; what HTTP/1.2 may change \
        nobody knows",
    ),
    rule(
        H11,
        "refuses: HeaderName",
        "",
        "It unfolds folded lines, which section 5.2 allows; \
        recipients that do not would read another field",
    ),
    rule(
        H11,
        "refuses: HeaderValue",
        "",
        "It takes control characters other than NUL, CR and LF \
        (RFC 9110 section 5.5)",
    ),
    rule(
        ALL,
        "refuses: BothLengths",
        "",
        "They let Transfer-Encoding win, which section 6.3 allows; \
        an older recipient would let Content-Length win",
    ),
    rule(
        ALL,
        "refuses: ContentLength",
        "",
        "They take equal repetitions or read on after a number; \
        no honest client sends them",
    ),
    rule(
        LAX,
        "refuses: TransferEncoding",
        "",
        "They ask only that the last coding be chunked; a \
        list, an empty element or a repetition is read in more than one way",
    ),
    rule(
        LAX,
        "refuses: UnsupportedCoding",
        "",
        "They leave other codings to the application; we \
        would have to pass the bytes on unlabelled",
    ),
    rule(
        HTTPARSE_AND_H11,
        "refuses: CodingInHttp10",
        "",
        "They take it; section 6.1 calls the \
        framing of such a message faulty",
    ),
    rule(
        ALL,
        "refuses: Chunk",
        "",
        "They take white space around a size, or control characters in \
        an extension (section 7.1 has neither)",
    ),
    rule(
        ALL,
        "refuses: ChunkExtension",
        "",
        "They have no limit, or another",
    ),
    rule(
        ALL,
        "refuses: Trailers",
        "",
        "They take fields that only a head may have (RFC 9110 \
        section 6.5.1), or judge a trailer section when it is whole, or unfold lines",
    ),
    rule(
        ALL,
        "refuses: TooManyHeaders",
        "",
        "They have no limit, or another",
    ),
    rule(
        HYPER,
        "takes",
        "refuses: message head is too large",
        "Its limit is 100 fields, ours 128",
    ),
    rule(
        HYPER,
        "waits",
        "refuses: message head is too large",
        "It takes no Content-Length above \
        2^64 - 3, and no more than 100 fields; we wait for what was announced",
    ),
    rule(
        LAX,
        "waits",
        "refuses: ",
        "They judge a head before it is whole; we take nothing of it, \
        and judge it when it is",
    ),
    rule(
        H11,
        "waits",
        "refuses: illegal request line",
        "It judges the first line before the head \
        is whole; we take nothing of it",
    ),
    rule(
        H11,
        "waits",
        "refuses: no request line",
        "We skip one empty line (section 2.2)",
    ),
    rule(
        H11,
        "waits",
        "refuses: Missing mandatory Host",
        "We judge Host when the handler is asked, \
        and here the body is not whole",
    ),
    rule(
        H11,
        "waits",
        "refuses: Found multiple Host",
        "We judge Host when the handler is asked, \
        and here the body is not whole",
    ),
    rule(
        HYPER,
        "refuses its Host",
        "refuses: message head is too large",
        "Its limit is 100 fields, ours 128, and the handler answers 400",
    ),
    rule(
        H11,
        "takes",
        "refuses: Received server _SWITCH_UPGRADE",
        "Whether a 101 was asked for is for the client end of `wire` to say, which knows",
    ),
    rule(
        H11,
        "refuses its Host",
        "refuses: illegal request line",
        "A target in UTF-8 as below, and the handler answers 400",
    ),
    rule(
        H11,
        "refuses its Host",
        "refuses: Missing mandatory Host",
        "The handler answers 400: \
        `message::Target`",
    ),
    rule(
        H11,
        "refuses its Host",
        "refuses: Found multiple Host",
        "The handler answers 400: \
        `message::Target`",
    ),
    rule(
        H11,
        "refuses its Host",
        "refuses: no request line",
        "We skip one empty line (section \
        2.2), and the handler answers 400",
    ),
    rule(
        H11,
        "takes",
        "refuses: no request line",
        "We skip one empty line (section 2.2)",
    ),
    rule(
        H11,
        "takes",
        "refuses: illegal request line",
        "We pass a target in UTF-8 on as it is, as \
        browsers of old send it; it delimits nothing",
    ),
    rule(
        H11,
        "takes",
        "refuses: Only Transfer-Encoding: chunked",
        "An answer without a body: the \
        field says nothing about it and is not passed on",
    ),
    rule(
        H11,
        "takes",
        "refuses: multiple Transfer-Encoding",
        "An answer without a body: the field \
        says nothing about it and is not passed on",
    ),
    rule(
        H11,
        "keeps",
        "closes",
        "It never keeps a connection of HTTP/1.0; we do if asked to \
        (section 9.3)",
    ),
];

pub(super) fn find(peer: &str, difference: &Difference) -> Option<&'static Rule> {
    let explains = |rule: &&Rule| {
        rule.peers.contains(&peer)
            && rule.ours == difference.ours
            && difference.theirs.starts_with(rule.theirs)
    };
    RULES
        .iter()
        .filter(|_| !difference.is_dangerous())
        .find(explains)
}
