"""Reads byte streams with h11 and tells what it read.

A question is a length of four bytes and as many bytes, which are streams: a letter for the kind, a
length, the bytes. The answer is a length and a list in JSON, one character standing for one byte.
"""

import json
import sys

import h11

MOST = 1 << 20


def text(data):
    return bytes(data).decode("latin-1")


def pairs(headers):
    return [[text(name), text(value)] for name, value in headers]


def server():
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MOST)


def client(method):
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return connection


def start(event):
    if isinstance(event, h11.Request):
        line = [event.method, event.target, event.http_version]
    else:
        line = [event.http_version, b"%d" % event.status_code]
    return {"line": [text(part) for part in line], "fields": pairs(event.headers),
            "body": "", "trailers": [], "last": False}


def messages(connection, stream, offset):
    """Yield each message as it is whole; an answer's connection ends with the stream."""
    if not stream:  # to h11 that is the end of the connection
        return
    connection.receive_data(stream)
    asking = connection.our_role is h11.CLIENT
    message = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA and asking and message is not None and not framed(message):
            connection.receive_data(b"")
        elif event is h11.NEED_DATA or event is h11.PAUSED:
            return
        elif isinstance(event, h11.ConnectionClosed):
            return
        elif isinstance(event, h11.Data):
            message["body"] += text(event.data)
        elif isinstance(event, h11.EndOfMessage):
            message["trailers"] = pairs(event.headers)
            rest = connection.trailing_data[0]
            message["end"] = offset + len(stream) - len(rest)
            message["last"] = asking or last(connection.their_state)
            yield message
            return
        else:
            message = start(event)
            if isinstance(event, h11.InformationalResponse):
                message["end"] = offset + len(stream) - len(connection.trailing_data[0])
                yield message
                message = None


def last(state):
    """Before a possible switch of protocols h11 does not say."""
    if state is h11.MIGHT_SWITCH_PROTOCOL:
        return None
    return state in (h11.MUST_CLOSE, h11.CLOSED)


def framed(message):
    return any(name in ("content-length", "transfer-encoding") for name, _ in message["fields"])


def read(kind, stream):
    read = []
    try:
        if kind != b"R":
            read.extend(messages(client("HEAD" if kind == b"H" else "GET"), stream, 0))
            return {"messages": read}
        at = 0
        while True:
            # Pipelined requests each get a connection, so that nothing needs to be answered.
            before = len(read)
            read.extend(messages(server(), stream[at:], at))
            if len(read) == before or read[-1]["last"]:
                return {"messages": read}
            at = read[-1]["end"]
    except h11.RemoteProtocolError as error:
        return {"messages": read, "refused": str(error).partition(": bytearray")[0]}


def take(source):
    size = source.read(4)
    return source.read(int.from_bytes(size, "big")) if size else None


def answer(question):
    at = 0
    while at < len(question):
        kind = question[at:at + 1]
        end = at + 5 + int.from_bytes(question[at + 1:at + 5], "big")
        yield read(kind, question[at + 5:end])
        at = end


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (question := take(source)) is not None:
        said = json.dumps(list(answer(question))).encode()
        sink.write(len(said).to_bytes(4, "big") + said)
        sink.flush()


if __name__ == "__main__":
    main()
