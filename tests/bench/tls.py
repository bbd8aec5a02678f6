#!/usr/bin/env python3
"""Compare the CPU cost of TLS: handshakes, and requests by HTTP/1.1 and HTTP/2 inside.

As compare.py does it, whose rows are those in clear. All three show one certificate with an ECDSA
key (P-256), and it is checked that they agree on one version, cipher and group.
"""

import contextlib
import functools
import http.client
import json
import re
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import cputime
from compare import (answers, arguments, compare, load, main, print_table, start_all, summary,
                     versions, write_report)
from programs import Failed, find, pinned

HERE = Path(__file__).resolve().parent
PROGRAMS = ("nginx", "haproxy", "wrk", "h2load", "openssl", "taskset")
STREAMS = 32
# As many requests at a time as the connections of HTTP/1.1 have.
HTTP2_CONNECTIONS = 2
# At a time, of those that shake hands.
CLIENTS = 8


def certificate(folder):
    """Make one; return what the files of the proxies say of it."""
    cert, key, both = (folder / name for name in ("cert.pem", "key.pem", "both.pem"))
    subprocess.run([find("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-out", cert, "-keyout", key],
                   check=True, capture_output=True)
    both.write_text(cert.read_text() + key.read_text())
    for secret in (key, both):
        secret.chmod(0o600)
    return {"pointsman_tls": f'tls.certificate = [{{ cert = "{cert}", key = "{key}" }}]',
            # It would else ask everybody for P-256, which takes one more flight.
            "haproxy_tls": f" ssl crt {both} alpn h2,http/1.1 curves X25519:P-256",
            "nginx_listen": " ssl http2",
            "nginx_tls": f"ssl_certificate {cert}; ssl_certificate_key {key}; "
                         "ssl_protocols TLSv1.2 TLSv1.3;"}


def agreed(name, port):
    """What openssl tells of a handshake."""
    command = [find("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-alpn", "h2"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         errors="replace", timeout=10)
    found = [re.search(pattern, run.stdout, re.MULTILINE) for pattern in
             (r"^New, ([^,]+), Cipher is (\S+)$", r"^Server Temp Key: (\w+)", r"^ALPN protocol: (\S+)",
              r"^Peer signature type: (\S+)")]
    if not all(found):
        raise Failed(f"no handshake with {name}:\n{run.stdout}{run.stderr}")
    return " ".join(word for match in found for word in match.groups())


def same_terms(running):
    terms = {name: agreed(name, port) for name, (_, port) in running.items()}
    if len(set(terms.values())) > 1:
        raise Failed(f"they do not agree on the same: {terms}")
    return next(iter(terms.values()))


def check_response(name, port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    answers(name, http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context), "128")


def handshakes(args, name, port, resume=()):
    command = [sys.executable, HERE / "handshakes.py", port, args.seconds, CLIENTS, *resume]
    run = subprocess.run(pinned(args.load_core, command), capture_output=True, text=True,
                         timeout=args.seconds + 60)
    if run.returncode != 0 or run.stderr:
        raise Failed(f"handshakes with {name} failed:\n{run.stderr}")
    result = json.loads(run.stdout)
    return result["count"], result["micros"]


def http2(args, name, port):
    command = [find("h2load"), "-t1", f"-c{HTTP2_CONNECTIONS}", f"-m{STREAMS}", f"-D{args.seconds}",
               f"https://127.0.0.1:{port}/128"]
    run = subprocess.run(pinned(args.load_core, command), capture_output=True, text=True,
                         timeout=args.seconds + 60)
    counts = re.search(r"^requests: .* (\d+) succeeded, 0 failed, 0 errored, 0 timeout$", run.stdout,
                       re.MULTILINE)
    if run.returncode != 0 or counts is None or "Application protocol: h2" not in run.stdout:
        raise Failed(f"errors in the run against {name}:\n{run.stdout}{run.stderr}")
    return int(counts[1]), args.seconds * 1e6


def https(args, name, port):
    return load(name, port, "128", args, scheme="https")


# What is counted, and its title and load.
ROWS = {
    "full": ("shakes/s", "full handshake, CPU us for each", handshakes),
    "resumed": ("shakes/s", "resumed handshake, CPU us for each",
                functools.partial(handshakes, resume=["--resume"])),
    "https": ("req/s", "HTTP/1.1 kept alive, body of 128 bytes, CPU us per request", https),
    "http2": ("req/s", f"HTTP/2, {STREAMS} streams on each of {HTTP2_CONNECTIONS} connections, body of "
              "128 bytes, CPU us per request", http2),
}


def run(args):
    report = {"clock": cputime.clock(), "connections": args.connections, "seconds": args.seconds,
              "versions": versions(args), "rows": {}}
    print(f"{args.rounds} rounds of {args.seconds} s, {args.connections} connections, "
          f"{CLIENTS} that shake hands, CPU time from {report['clock']}")
    print("\n".join(report["versions"].values()))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        running = start_all(stack, folder, args, certificate(folder))
        report["terms"] = same_terms(running)
        print(report["terms"], flush=True)
        for row in args.only or ROWS:
            rate, title, one = ROWS[row]
            rounds = compare(running, check_response, functools.partial(one, args), args)
            rows = summary(rounds)
            print_table(title, rows, rate)
            report["rows"][row] = {"summary": rows, "rounds": rounds}
    write_report(args, report)


if __name__ == "__main__":
    sys.exit(main(arguments(__doc__.splitlines()[0], ROWS), PROGRAMS, run))
