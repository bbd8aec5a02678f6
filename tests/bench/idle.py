#!/usr/bin/env python3
"""Compare what an idle keep-alive connection costs: Pointsman, nginx and HAProxy.

Each proxy takes connections that do one request and then nothing. What its
memory grew by, divided by the connections, is the cost of one. The memory of
the sockets is the kernel's, the same for all three, and not counted.
"""

import argparse
import contextlib
import resource
import select
import signal
import socket
import sys
import tempfile
from pathlib import Path

import cputime
from compare import (IN_CLEAR, PROXIES, SIZES, at_least_one, proxy_command, start_origin, user,
                     versions)
from programs import Failed, Missing, find, free_ports, start

HERE = Path(__file__).resolve().parent
REQUEST = b"GET /128 HTTP/1.1\r\nHost: idle\r\n\r\n"
# As many as one source address is asked for: its ports do not run short.
PER_SOURCE = 5000
SPARE_FILES = 300
WARM = 200


def raise_file_limit(needed):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        with contextlib.suppress(ValueError, OSError):  # only root may
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        raise Missing(f"{needed} open files are needed, and no more than {soft} are allowed")


def answer(connection, name):
    connection.sendall(REQUEST)
    got = b""
    while len(got.partition(b"\r\n\r\n")[2]) < SIZES["128"]:
        piece = connection.recv(65536)
        if not piece:
            raise Failed(f"{name} closed a connection")
        got += piece
    if not got.startswith(b"HTTP/1.1 200 ") or b"close" in got.lower():
        raise Failed(f"{name} does not keep a connection:\n{got.decode('latin-1')}")


def connect(stack, name, port, number):
    connection = stack.enter_context(socket.socket())
    connection.settimeout(10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.bind((f"127.0.0.{2 + number // PER_SOURCE}", 0))
    connection.connect(("127.0.0.1", port))
    answer(connection, name)
    return connection


def memory(pid):
    """Bytes of all its processes: resident, and with shared pages divided among those that share."""
    total = {"Rss": 0, "Pss": 0}
    for process in cputime.process_tree(pid):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            key, _, rest = line.partition(":")
            if key in total:
                total[key] += int(rest.split()[0]) << 10
    return total


def still_open(name, connections):
    """Not one was closed, and those that are tried still answer."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    if closed := len(poll.poll(0)):
        raise Failed(f"{name} closed {closed} connections")
    for connection in connections[::max(1, len(connections) // 50)]:
        answer(connection, name)


def measure(name, pid, port, count):
    with contextlib.ExitStack() as warm:  # what is made once is not of any connection
        for number in range(WARM):
            connect(warm, name, port, number)
    before = memory(pid)
    with contextlib.ExitStack() as stack:
        connections = [connect(stack, name, port, number) for number in range(count)]
        idle = memory(pid)
        still_open(name, connections)
    return before, idle


def print_row(name, before, idle, count):
    each = {key: (idle[key] - before[key]) / count for key in before}
    print(f"{name:<10} {before['Pss'] / 2**20:11.1f} {idle['Pss'] / 2**20:11.1f} "
          f"{each['Pss']:15,.0f} {each['Rss']:15,.0f}", flush=True)


def run(args):
    raise_file_limit(args.connections + SPARE_FILES)
    print("\n".join(versions(args).values()))
    print(f"{args.connections} idle connections, one worker each\n")
    print(f"{'':<10} {'before, MiB':>11} {'idle, MiB':>11} {'bytes each, PSS':>15} "
          f"{'bytes each, RSS':>15}", flush=True)
    for name, port in zip(args.proxies, free_ports(len(args.proxies))):
        origin, admin = free_ports(2)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idle-")))
            start_origin(stack, folder / "origin", origin, args.load_core)
            # nginx closes idle connections when a sixteenth of those it may have is left.
            values = {"origin": origin, "admin": admin, "port": port, "user": user(),
                      "buffer": "4k", "keepalive": 64, "clients": args.connections * 5 // 4} | IN_CLEAR
            command = proxy_command(name, folder / name, values, args.binary)
            pid = start(stack, name, [str(word) for word in command], port, folder / name / "log")
            before, idle = measure(name, pid, port, args.connections)
        print_row(name, before, idle, args.connections)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--binary", type=Path, default=HERE.parents[1] / "target/release/pointsman")
    add("--connections", type=at_least_one, default=10_000)
    add("--skip", action="append", default=[], choices=PROXIES, help="leave a proxy out")
    args = parser.parse_args()
    args.proxies = [name for name in PROXIES if name not in args.skip]
    args.load_core = 0
    return args


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = arguments()
    try:
        for program in ("nginx", "haproxy", "taskset"):
            find(program)
        if not args.binary.is_file():
            raise Missing(f"{args.binary} not found; build it with: cargo build --release")
        run(args)
    except Missing as error:
        print(error, file=sys.stderr)
        return 2
    except (Failed, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
