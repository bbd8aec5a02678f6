#!/usr/bin/env python3
"""Compare the CPU cost of one proxied request: Pointsman, nginx and HAProxy.

Each proxy runs alone on one core with one worker; the origin and the load
generator share another core. Rounds are interleaved, so that a slow spell of
the machine touches every proxy, and the ratios are taken round by round.
"""

import argparse
import contextlib
import http.client
import json
import os
import pwd
import signal
import string
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import cputime
from programs import Failed, Missing, find, free_ports, pinned, start

HERE = Path(__file__).resolve().parent
CONF = HERE / "conf"
PROXIES = ("pointsman", "nginx", "haproxy")
SIZES = {"128": 128, "16k": 16 << 10, "1m": 1 << 20}
PROGRAMS = ("nginx", "haproxy", "wrk", "taskset")
# What the files of the proxies say of TLS.
IN_CLEAR = {"nginx_listen": "", "nginx_tls": "", "haproxy_tls": "", "pointsman_tls": ""}
FAILURES = (Failed, cputime.Lost, OSError, http.client.HTTPException, subprocess.TimeoutExpired)


def check_host(args, programs):
    needed = {args.proxy_core, args.load_core}
    if len(needed) < 2 or not needed <= os.sched_getaffinity(0):
        raise Missing(f"cores {args.proxy_core} and {args.load_core} must be two usable cores")
    for program in programs:
        find(program)
    if "pointsman" in args.proxies and not os.access(args.binary, os.X_OK):
        raise Missing(f"{args.binary} not found; build it with: cargo build --release")


def user():
    return pwd.getpwuid(os.geteuid()).pw_name


def write_conf(folder, template, values):
    conf = folder / template
    conf.write_text(string.Template((CONF / template).read_text()).substitute(values))
    return conf


def start_origin(stack, folder, port, core):
    files = folder / "files"
    files.mkdir(parents=True)
    for name, size in SIZES.items():
        (files / name).write_bytes(b"x" * size)
    values = {"port": port, "user": user(), "small": "x" * SIZES["128"]}
    conf = write_conf(folder, "origin.conf", values)
    command = [find("nginx"), "-p", folder, "-c", conf, "-e", "stderr"]
    start(stack, "origin", pinned(core, command), port, folder / "log")


def proxy_command(name, folder, values, binary):
    folder.mkdir()
    if name == "nginx":
        conf = write_conf(folder, "nginx.conf", values)
        return [find("nginx"), "-p", folder, "-c", conf, "-e", "stderr"]
    if name == "haproxy":
        return [find("haproxy"), "-db", "-f", write_conf(folder, "haproxy.cfg", values)]
    return [binary, "run", "--config", write_conf(folder, "pointsman.toml", values)]


def start_all(stack, folder, args, secure=IN_CLEAR):
    """Start the origin and every proxy; return {name: (pid, port)}. `secure` is for their files."""
    origin, admin, *ports = free_ports(2 + len(args.proxies))
    start_origin(stack, folder / "origin", origin, args.load_core)
    values = {"origin": origin, "admin": admin, "user": user(),
              "buffer": args.nginx_buffer, "keepalive": max(64, args.connections),
              "clients": 4096}
    values |= secure
    running = {}
    for name, port in zip(args.proxies, ports):
        command = proxy_command(name, folder / name, values | {"port": port}, args.binary)
        command = pinned(args.proxy_core, command)
        running[name] = (start(stack, name, command, port, folder / name / "log"), port)
    return running


def check_response(name, port, path):
    answers(name, http.client.HTTPConnection("127.0.0.1", port, timeout=10), path)


def answers(name, connection, path):
    with contextlib.closing(connection):
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        length = len(response.read())
    if (response.status, length) != (200, SIZES[path]):
        raise Failed(f"{name} answered {response.status} with {length} bytes for {path}")


def load(name, port, path, args, scheme="http"):
    command = [find("wrk"), "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "-s",
               CONF / "wrk.lua", f"{scheme}://127.0.0.1:{port}/{path}"]
    run = subprocess.run(pinned(args.load_core, command), capture_output=True, text=True,
                         timeout=args.seconds + 60)
    line = next((l for l in run.stdout.splitlines() if l.startswith("RESULT ")), None)
    if run.returncode != 0 or line is None:
        raise Failed(f"wrk failed against {name}:\n{run.stdout}{run.stderr}")
    result = json.loads(line.removeprefix("RESULT "))
    short = result["bytes"] < result["requests"] * SIZES[path]
    if result["errors"] or short or result["requests"] == 0:
        raise Failed(f"errors in the run against {name}:\n{run.stdout}")
    return result["requests"], result["micros"]


def measure(pid, load):
    """What the proxy needed for each of what a load did; `load` tells how many, and in which time."""
    before = cputime.sample(pid)
    count, micros = load()
    cpu = cputime.spent(before, cputime.sample(pid))
    return {"count": count, "us": cpu / count, "core_share": cpu / micros,
            "per_second": count * 1e6 / micros}


def compare(running, check, load, args):
    """Rounds of each proxy; both functions take its name and port, and `load` is what is measured."""
    rounds = {name: [] for name in running}
    for number in range(args.rounds + 1):
        for name, (pid, port) in running.items():
            check(name, port)
            result = measure(pid, lambda: load(name, port))
            if number > 0:  # the first one warms up
                rounds[name].append(result)
    return rounds


def summary(rounds):
    reference = [r["us"] for r in next(iter(rounds.values()))]
    rows = {}
    for name, results in rounds.items():
        cost = [r["us"] for r in results]
        rows[name] = {"median": median(cost), "min": min(cost), "max": max(cost),
                      "rate": median(r["per_second"] for r in results),
                      "share": median(r["core_share"] for r in results),
                      "ratio": median(a / b for a, b in zip(reference, cost))}
    return rows


def print_table(title, rows, rate="req/s"):
    ratio = f"{next(iter(rows))}/X"
    print(f"\n{title}")
    print(f"{'X':<10} {'median':>9} {'min':>9} {'max':>9} {rate:>9} {'core':>5} {ratio:>12}")
    for name, row in rows.items():
        print(f"{name:<10} {row['median']:9.2f} {row['min']:9.2f} {row['max']:9.2f} "
              f"{row['rate']:9.0f} {row['share']:5.0%} {row['ratio']:12.3f}", flush=True)


def versions(args):
    asked = {"nginx": [find("nginx"), "-v"], "haproxy": [find("haproxy"), "-v"]}
    answers = {}
    for name in filter(asked.get, args.proxies):
        run = subprocess.run(asked[name], capture_output=True, text=True)
        answers[name] = (run.stdout + run.stderr).splitlines()[0]
    return answers


def run(args):
    report = {"clock": cputime.clock(), "connections": args.connections, "seconds": args.seconds,
              "nginx_buffer": args.nginx_buffer, "versions": versions(args), "bodies": {}}
    print(f"{args.rounds} rounds of {args.seconds} s, {args.connections} connections, "
          f"CPU time from {report['clock']}")
    print("\n".join(report["versions"].values()), flush=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        running = start_all(stack, folder, args)
        for path in args.only or SIZES:
            rounds = compare(running, lambda name, port: check_response(name, port, path),
                             lambda name, port: load(name, port, path, args), args)
            rows = summary(rounds)
            print_table(f"body of {SIZES[path]} bytes, CPU us per request", rows)
            report["bodies"][path] = {"summary": rows, "rounds": rounds}
    write_report(args, report)


def write_report(args, report):
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def at_least_one(text):
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def arguments(description, only):
    """Those that every comparison of this kind has; `only` are the rows that it has."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add("--binary", type=Path, default=HERE.parents[1] / "target/release/pointsman")
    add("--rounds", type=at_least_one, default=5)
    add("--seconds", type=at_least_one, default=5, help="length of a round")
    add("--connections", type=at_least_one, default=64)
    add("--only", action="append", choices=only, help="one row; may be repeated")
    add("--skip", action="append", default=[], choices=PROXIES, help="leave a proxy out")
    add("--json", type=Path, metavar="FILE", help="also write every round to FILE")
    add("--nginx-buffer", default="4k", metavar="SIZE", help="one of its 8 (4k, as shipped)")
    add("--proxy-core", type=int, default=0)
    add("--load-core", type=int, default=1, help="core of the origin and of wrk")
    args = parser.parse_args()
    args.proxies = [name for name in PROXIES if name not in args.skip]
    if not args.proxies:
        parser.error("every proxy is skipped")
    return args


def main(args, programs, run):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        check_host(args, programs)
        run(args)
    except Missing as error:
        print(error, file=sys.stderr)
        return 2
    except FAILURES as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(arguments(__doc__.splitlines()[0], SIZES), PROGRAMS, run))
