#!/usr/bin/env python3
"""Shake hands by TLS 1.3 with a server for a while, and tell as JSON how often.

    handshakes.py PORT SECONDS CLIENTS [--resume]
"""

import argparse
import contextlib
import json
import socket
import ssl
import threading
import time

REQUEST = b"GET /128 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def settings():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    # Nobody pays for what the client verifies, but it takes time from the server's other clients.
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(port):
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain


def ticket(context, port):
    """That of a session, which comes after the handshake, with an answer at the latest."""
    with context.wrap_socket(connect(port)) as secured:
        secured.sendall(REQUEST)
        while secured.recv(65536):
            pass
        return secured.session


def shake(context, port, session):
    with context.wrap_socket(connect(port), session=session) as secured:
        if secured.session_reused != (session is not None):
            raise SystemExit("a session was resumed" if session is None else "none was resumed")
        # Both sides say goodbye, as clients do; whoever only closes would reset the connection.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            secured.unwrap()


def work(args, counts, end):
    context = settings()
    session = ticket(context, args.port) if args.resume else None
    while time.monotonic() < end:
        shake(context, args.port, session)
        counts.append(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("clients", type=int)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    counts, began = [], time.monotonic()
    threads = [threading.Thread(target=work, args=(args, counts, began + args.seconds))
               for _ in range(args.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"count": len(counts), "micros": (time.monotonic() - began) * 1e6}))


if __name__ == "__main__":
    main()
