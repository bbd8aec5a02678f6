#!/usr/bin/env python3
"""A WebSocket server and a client of the `websockets` library.

    websocket.py serve PORT     echoes; closes with CODE and REASON when told `close CODE REASON`
    websocket.py talk URL       one round of messages for each line of input, then the goodbyes;
                                prints `ok` for each round and at the end what was agreed, in JSON
"""

import contextlib
import json
import random
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

LARGEST = 32 << 20
TEXT = "the same words again and again, and a sign of three bytes: € " * 2000
BINARY = random.Random(1).randbytes(70_000)


def echo(connection):
    with contextlib.suppress(ConnectionClosed):
        for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                _, code, reason = message.split(" ", 2)
                connection.close(int(code), reason)
            else:
                connection.send(message)


def same(connection, sent, expected):
    connection.send(sent)
    got = connection.recv(timeout=20)
    assert got == expected, f"{len(got)} of {len(expected)} came back, or others"


def talk_round(connection):
    for message in ("", TEXT, BINARY, "x" * 125, "x" * 126, b"x" * 65535, b"x" * 65536):
        same(connection, message, message)
    # An iterable is sent in fragments.
    same(connection, iter(["frag", "", "ments", TEXT]), "fragments" + TEXT)
    assert connection.ping(b"between").wait(20), "no pong"


def end_of(connection):
    try:
        connection.recv(timeout=20)
    except ConnectionClosed as closed:
        return [[end.code, end.reason] for end in (closed.rcvd, closed.sent)]
    raise AssertionError("a message instead of the end")


def talk(url):
    offered = {"subprotocols": ["chat", "superchat"], "max_size": LARGEST, "proxy": None}
    with connect(url, **offered) as connection, connect(url, **offered) as other:
        for _ in sys.stdin:
            talk_round(connection)
            print("ok", flush=True)
        large = BINARY * 240
        same(connection, large[:16 << 20], large[:16 << 20])
        other.send("close 4002 enough")
        told = end_of(other)
        connection.close(4001, "done")
        print(json.dumps({
            "subprotocol": connection.subprotocol,
            "extensions": [extension.name for extension in connection.protocol.extensions],
            "by_server": told,
            "by_client": end_of(connection),
        }))


def main():
    what, where = sys.argv[1:]
    if what == "serve":
        with serve(echo, "127.0.0.1", int(where), subprotocols=["superchat"],
                   max_size=LARGEST) as server:
            server.serve_forever()
    talk(where)


if __name__ == "__main__":
    main()
