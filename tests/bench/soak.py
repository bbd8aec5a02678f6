#!/usr/bin/env python3
"""Soak Pointsman with large bodies: nothing lost, and no memory for what is long.

Bodies go up and down through the release binary, by length and in chunks,
alone, several at once, and with one end that is slow. Both ends keep a
checksum of what they sent or got. Exits 1 if any two differ, or if the
resident memory of the proxy grew more than allowed for each stream.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import random
import signal
import struct
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from compare import at_least_one, proxy_command
from programs import Failed, Missing, free_ports, start

HERE = Path(__file__).resolve().parent
MIB = 1 << 20
BLOCK = MIB
RANDOM = random.Random(1).randbytes(BLOCK)
SLOW = 16 * MIB  # a second


class Sum:
    """What passed by, and no faster than `rate` bytes a second."""

    def __init__(self, rate=0):
        self.rate, self.bytes, self.crc, self.started = rate, 0, 0, time.monotonic()

    def add(self, piece):
        self.bytes += len(piece)
        self.crc = zlib.crc32(piece, self.crc)
        if self.rate:
            early = self.started + self.bytes / self.rate - time.monotonic()
            time.sleep(max(0, early))

    def __iter__(self):
        return iter((self.bytes, self.crc))


def blocks(size, total):
    """Blocks of which no two are the same: one that is lost, doubled or moved shows."""
    for number in range(0, size, BLOCK):
        block = bytearray(RANDOM)
        struct.pack_into(">Q", block, 0, number)
        block = memoryview(block)[:size - number]
        total.add(block)
        yield block


def drain(readinto, total):
    buffer = memoryview(bytearray(BLOCK // 4))
    while read := readinto(buffer):
        total.add(buffer[:read])
    return total


class Chunks:
    """The body of a request in chunks, as something that can be read into a buffer."""

    def __init__(self, stream):
        self.stream, self.left = stream, 0

    def readinto(self, buffer):
        if self.left == 0:
            self.left = int(self.stream.readline(), 16)
            if self.left == 0:
                self.stream.readline()
                return 0
        read = self.stream.readinto(buffer[:self.left])
        self.left -= read
        if self.left == 0:
            self.stream.readline()
        return read


class Limited:
    def __init__(self, stream, length):
        self.stream, self.left = stream, length

    def readinto(self, buffer):
        read = self.stream.readinto(buffer[:self.left]) if self.left else 0
        self.left -= read
        return read


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rbufsize = BLOCK // 4
    sent = {}

    def do_GET(self):
        url = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/sent":  # asked directly, not through the proxy
            return self.say(tuple(self.sent.pop(asked["stream"])))
        size, chunked, total = int(asked["size"]), asked["framing"] == "chunked", Sum()
        self.sent[asked["stream"]] = total
        self.send_response(200)
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked
                           else ("Content-Length", str(size))))
        self.end_headers()
        for block in blocks(size, total):
            if chunked:
                self.wfile.write(b"%x\r\n" % len(block))
            self.wfile.write(block)
            if chunked:
                self.wfile.write(b"\r\n")
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def do_PUT(self):
        asked = parse_qs(urlsplit(self.path).query)
        length = self.headers["Content-Length"]
        body = Chunks(self.rfile) if length is None else Limited(self.rfile, int(length))
        self.say(tuple(drain(body.readinto, Sum(int(asked["rate"][0])))))

    def say(self, answer):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_origin(port):
    server = ThreadingHTTPServer(("127.0.0.1", port), Origin)
    server.daemon_threads = True
    server.serve_forever()


@dataclass(frozen=True)
class Case:
    what: str
    size: int  # of each stream
    streams: tuple  # of (direction, framing)
    rate: int = 0  # of the end that reads


def cases(size):
    down, up = ("down", "length"), ("up", "length")
    down_chunked, up_chunked = ("down", "chunked"), ("up", "chunked")
    slow = min(size, 4 * SLOW)
    return [
        Case("down, length", size, (down,)),
        Case("down, chunked", size, (down_chunked,)),
        Case("up, length", size, (up,)),
        Case("up, chunked", size, (up_chunked,)),
        Case("all at once", size // 4, (down, down_chunked, up, up_chunked)),
        Case("slow readers", slow, (down, down_chunked, up, up_chunked), SLOW),
    ]


def asked(connection, method, path, **body):
    connection.request(method, path, **body)
    response = connection.getresponse()
    if response.status != 200:
        raise Failed(f"{method} {path}: {response.status} {response.read()!r}")
    return response


def download(proxy, origin, stream, framing, case):
    total = Sum(case.rate)
    path = f"/down?stream={stream}&size={case.size}&framing={framing}"
    drain(asked(proxy, "GET", path).readinto, total)
    return tuple(total), tuple(json.load(asked(origin, "GET", f"/sent?stream={stream}")))


def upload(proxy, _origin, stream, framing, case):
    total = Sum()
    headers = {} if framing == "chunked" else {"Content-Length": str(case.size)}
    response = asked(proxy, "PUT", f"/up?stream={stream}&rate={case.rate}", headers=headers,
                     body=blocks(case.size, total), encode_chunked=framing == "chunked")
    return tuple(json.load(response)), tuple(total)


def carry(ports, stream, direction, framing, case):
    """One stream from its beginning to its end, at both of which the same must be seen."""
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60, blocksize=BLOCK)
                   for port in ports]
    with contextlib.closing(connections[0]), contextlib.closing(connections[1]):
        act = download if direction == "down" else upload
        got, sent = act(*connections, stream, framing, case)
    if got != sent or got[0] != case.size:
        raise Failed(f"{case.what}, stream {stream}: {sent} (bytes, checksum) became {got}")


def resident(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) << 10


@contextlib.contextmanager
def watched(pid):
    """The most memory that the process had, looked at every 10 ms."""
    peak, done = [resident(pid)], threading.Event()

    def look():
        while not done.wait(0.01):
            peak[0] = max(peak[0], resident(pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def soak(case, ports, pid):
    before, began = resident(pid), time.monotonic()
    with watched(pid) as peak, ThreadPoolExecutor(len(case.streams)) as pool:
        streams = [pool.submit(carry, ports, number, *stream, case)
                   for number, stream in enumerate(case.streams)]
        for stream in streams:
            stream.result()
    seconds, count = time.monotonic() - began, len(case.streams)
    return {"bytes": case.size * count, "seconds": seconds, "before": before, "peak": peak[0],
            "after": resident(pid), "growth": (peak[0] - before) / count}


def print_row(case, row):
    mib = [f"{row[key] / MIB:9.1f}" for key in ("before", "peak", "after", "growth")]
    rate = row["bytes"] / row["seconds"] / 1e6
    print(f"{case.what:<14} {len(case.streams):7} {row['bytes']:14,} {rate:8.0f} {' '.join(mib)}",
          flush=True)


def run(args):
    origin, admin, port = free_ports(3)
    server = multiprocessing.Process(target=serve_origin, args=(origin,), daemon=True)
    server.start()
    breaches = []
    with contextlib.ExitStack() as stack:
        stack.callback(server.terminate)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-"))) / "proxy"
        values = {"origin": origin, "admin": admin, "port": port}
        command = proxy_command("pointsman", folder, values, args.binary)
        pid = start(stack, "pointsman", map(str, command), port, folder / "log")
        for case in cases(16 * MIB)[:-1]:  # the first of everything costs memory once
            soak(case, (port, origin), pid)
        print(f"{'':<14} {'streams':>7} {'bytes':>14} {'MB/s':>8} "
              f"{'before':>9} {'peak':>9} {'after':>9} {'a stream':>9}  (RSS in MiB)")
        for case in cases(args.mib * MIB):
            row = soak(case, (port, origin), pid)
            print_row(case, row)
            if row["growth"] >= args.growth * MIB:
                breaches.append(f"{case.what}: {row['growth'] / MIB:.1f} MiB more for each stream")
    if breaches:
        raise Failed("; ".join(breaches))
    print(f"every byte arrived; never {args.growth} MiB more for a stream")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--binary", type=Path, default=HERE.parents[1] / "target/release/pointsman")
    add("--mib", type=at_least_one, default=5 << 10, help="of each body (5120)")
    add("--growth", type=float, default=5.0, metavar="MIB", help="the most for a stream (5)")
    return parser.parse_args()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = arguments()
    if not args.binary.is_file():
        print(f"{args.binary} not found; build it with: cargo build --release", file=sys.stderr)
        return 2
    try:
        run(args)
    except (Failed, Missing, OSError, http.client.HTTPException) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
