"""The bytes: one rule a case, the same for every proxy."""

from dataclasses import dataclass

HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


@dataclass
class Case:
    name: str
    # Sent one after another, each when nothing more comes back.
    parts: list
    # Fields of the forwarded request, or of the answer, that the rule is about.
    fields: tuple = ()
    # What the origin says; by default a plain 200.
    answer: bytes = b""
    # Show how the answer is framed, too.
    answers: bool = False


def post(name, lines, body):
    return Case(name, [HEAD + lines + b"\r\n\r\n" + body + NEXT])


def get(name, line, *fields):
    return Case(name, [GET + line + b"\r\n\r\n"], fields)


def line(name, text, fields=()):
    return Case(name, [text + b" HTTP/1.1\r\nHost: a\r\n\r\n"], fields)


def chunks(name, body):
    return post(name, b"Transfer-Encoding: chunked", body)


def answer(name, text, method=b"GET"):
    sent = method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n"
    return Case(name, [sent], answer=text, answers=True)


LENGTH = [
    post("Content-Length, then Transfer-Encoding",
         b"Content-Length: 5\r\nTransfer-Encoding: chunked", CHUNKS),
    post("Transfer-Encoding, then Content-Length",
         b"Transfer-Encoding: chunked\r\nContent-Length: 5", CHUNKS),
    post("Content-Length twice, equal", b"Content-Length: 5\r\nContent-Length: 5", b"hello"),
    post("Content-Length twice, unequal", b"Content-Length: 5\r\nContent-Length: 6", b"hello"),
    post("Content-Length as a list", b"Content-Length: 5, 5", b"hello"),
    post("Content-Length empty", b"Content-Length:", b""),
    post("Content-Length with a sign", b"Content-Length: +5", b"hello"),
    post("Content-Length above 2^64", b"Content-Length: 18446744073709551616", b"hello"),
    post("Transfer-Encoding: Chunked", b"Transfer-Encoding: Chunked", CHUNKS),
    post("Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: gzip, chunked", CHUNKS),
    post("Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: chunked, gzip", CHUNKS),
    post("Transfer-Encoding: identity", b"Transfer-Encoding: identity", b""),
    post("Transfer-Encoding: xchunked", b"Transfer-Encoding: xchunked", CHUNKS),
    post("Transfer-Encoding twice",
         b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", CHUNKS),
    post("Transfer-Encoding before a vertical tab", b"Transfer-Encoding: \x0bchunked", CHUNKS),
    Case("Transfer-Encoding in HTTP/1.0",
         [b"POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS]),
]

CHUNKED = [
    chunks("chunk extension", b"5;a=b\r\nhello\r\n0;c\r\n\r\n"),
    chunks("chunk extension of 300 bytes", b"5;" + b"x" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
    chunks("chunk extension with a bare LF", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    chunks("chunk size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    chunks("chunk size with a space after it", b"5 \r\nhello\r\n0\r\n\r\n"),
    chunks("chunk size above 2^64", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    chunks("chunk size line ends in LF", b"5\nhello\r\n0\r\n\r\n"),
    chunks("chunk longer than its size", b"5\r\nhello!\r\n0\r\n\r\n"),
    chunks("trailers", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"),
    chunks("Content-Length as a trailer", b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"),
]

LINES = [
    Case("LF alone ends every line", [b"GET /a HTTP/1.1\nHost: a\n\n"]),
    Case("LF alone ends one field", [GET + b"X: y\nZ: z\r\n\r\n"], ("x", "z")),
    Case("CR alone in a field", [GET + b"X: y\rZ: z\r\n\r\n"], ("x", "z")),
    Case("folded line", [GET + b"X: y\r\n folded\r\n\r\n"], ("x",)),
    Case("NUL in a value", [GET + b"X: y\0z\r\n\r\n"], ("x",)),
    Case("control character in a value", [GET + b"X: y\x01z\r\n\r\n"], ("x",)),
    Case("byte above 0x7f in a value", [GET + b"X: caf\xe9\r\n\r\n"], ("x",)),
    post("space before the colon", b"Content-Length : 5", b"hello"),
    Case("line without a colon", [GET + b"no colon\r\n\r\n"]),
    Case("name that is no token", [GET + b"X(Y): z\r\n\r\n"], ("x(y)",)),
    Case("empty line before the request", [b"\r\n" + GET + b"\r\n"]),
    Case("two empty lines before the request", [b"\r\n\r\n" + GET + b"\r\n"]),
    Case("two spaces in the request line", [b"GET  /a HTTP/1.1\r\nHost: a\r\n\r\n"]),
    Case("HTTP/1.2", [b"GET /a HTTP/1.2\r\nHost: a\r\n\r\n"]),
    Case("HTTP/2.0 in words", [b"GET /a HTTP/2.0\r\nHost: a\r\n\r\n"]),
    Case("http/1.1 in lower case", [b"GET /a http/1.1\r\nHost: a\r\n\r\n"]),
    Case("no version", [b"GET /a\r\n\r\n"]),
    Case("target of 70,000 bytes", [b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"]),
    Case("field of 140,000 bytes", [GET + b"X: " + b"x" * 140_000 + b"\r\n\r\n"]),
    Case("200 fields", [GET + b"X: y\r\n" * 200 + b"\r\n"]),
]

TARGETS = [
    Case("no Host", [b"GET /a HTTP/1.1\r\n\r\n"]),
    Case("no Host, absolute target", [b"GET http://a/a HTTP/1.1\r\n\r\n"], ("host",)),
    Case("two Hosts", [b"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"], ("host",)),
    Case("empty Host", [b"GET /a HTTP/1.1\r\nHost:\r\n\r\n"], ("host",)),
    Case("Host with a space", [b"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n"], ("host",)),
    Case("Host with a user", [b"GET /a HTTP/1.1\r\nHost: u@a\r\n\r\n"], ("host",)),
    Case("Host and absolute target differ", [b"GET http://b/a HTTP/1.1\r\nHost: a\r\n\r\n"],
         ("host",)),
    line("absolute target of another scheme", b"GET ftp://a/a"),
    line("OPTIONS *", b"OPTIONS *"),
    line("GET *", b"GET *"),
    line("CONNECT", b"CONNECT a:443"),
    line("fragment", b"GET /a#b"),
    line("backslash", b"GET /a\\..\\b"),
    line("dot segments", b"GET /a/../b"),
    line("encoded dot segments", b"GET /a/%2e%2e/b"),
    line("encoded slash", b"GET /a%2Fb"),
    line("encoded NUL", b"GET /a%00b"),
    line("broken escape", b"GET /a%zz"),
    line("two slashes", b"GET //a//b"),
    line("UTF-8 not escaped", b"GET /caf\xc3\xa9"),
]

FIELDS = [
    get("Connection names a field", b"Connection: x\r\nX: y", "connection", "x"),
    Case("Connection names Content-Length",
         [HEAD + b"Connection: content-length\r\nContent-Length: 5\r\n\r\nhello" + NEXT]),
    get("Connection names X-Forwarded-For", b"Connection: x-forwarded-for", "x-forwarded-for"),
    get("TE", b"TE: trailers, gzip\r\nConnection: TE", "te", "connection"),
    get("Keep-Alive, Proxy-Connection", b"Keep-Alive: 5\r\nProxy-Connection: x", "keep-alive",
        "proxy-connection"),
    get("X_Under", b"X_Under: y", "x_under"),
    get("X-Forwarded-For of a stranger", b"X-Forwarded-For: 1.2.3.4", "x-forwarded-for"),
    get("Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABk", "upgrade", "http2-settings"),
    Case("Expect: 100-continue", [HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
                                  b"hello"], ("expect",)),
    get("Expect: something", b"Expect: something", "expect"),
    Case("HTTP/1.0", [b"GET /a HTTP/1.0\r\n\r\n"], ("host",)),
    Case("body that nobody reads, with Content-Length",
         [b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN)
          + HIDDEN + NEXT]),
    Case("body that nobody reads, in chunks",
         [b"POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
          + b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n" + NEXT]),
]

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = [
    answer("103 before the answer",
           b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok"),
    answer("answer: both lengths",
           OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS),
    answer("answer: Content-Length twice, unequal",
           OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    answer("answer: Transfer-Encoding twice",
           OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS),
    answer("answer: Transfer-Encoding: gzip", OK + b"Transfer-Encoding: gzip\r\n\r\nhello"),
    answer("answer: chunked in HTTP/1.0",
           b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS),
    answer("answer: folded line", OK + b"X: y\r\n folded\r\nContent-Length: 2\r\n\r\nok"),
    answer("answer: LF alone", OK + b"X: y\nContent-Length: 2\r\n\r\nok"),
    answer("answer: space before the colon", OK + b"X : y\r\nContent-Length: 2\r\n\r\nok"),
    answer("answer: malformed chunk",
           OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n"),
    answer("answer: bytes after its end", OK + b"Content-Length: 2\r\n\r\nok" + OK
           + b"Content-Length: 6\r\n\r\npoison"),
    answer("answer: HEAD with two lengths",
           OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"HEAD"),
    answer("answer: 204 with Content-Length",
           b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    answer("answer: 101 unasked", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    answer("answer: no HTTP", b"ICY 200 OK\r\n\r\n"),
]

GROUPS = {
    "Where a message ends": LENGTH,
    "Chunks and trailers": CHUNKED,
    "Lines and sizes": LINES,
    "Target and Host": TARGETS,
    "Fields": FIELDS,
    "Answers of the origin": ANSWERS,
}
