#!/usr/bin/env python3
"""Send the same bytes to Pointsman, nginx and HAProxy and tell what each of them did.

Each proxy stands before an origin of its own that keeps the exact bytes it gets. Prints a table in
Markdown; with --check, says instead where the tables of a document differ from what was seen.
"""

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))

from cases import GROUPS  # noqa: E402
from programs import find, free_ports, start  # noqa: E402
from wire import Origin, exchange, messages  # noqa: E402

NGINX = """daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {{ }}
http {{ access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f;
    uwsgi_temp_path u; scgi_temp_path s;
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 8; }}
    server {{ listen 127.0.0.1:{port};
        location /none {{ return 404; }}
        location / {{ proxy_pass http://origin; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}
"""
HAPROXY = """global
    nbthread 1
defaults
    mode http
    option forwardfor
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend f
    bind 127.0.0.1:{port}
    http-request return status 404 if {{ path /none }}
    default_backend b
backend b
    server s 127.0.0.1:{origin}
"""
POINTSMAN = """listen = "127.0.0.1:{port}"
admin.listen = "127.0.0.1:{admin}"
log.access = false
[[route]]
name = "none"
path = "/none"
respond.status = 404
[[route]]
name = "all"
upstream = "http://127.0.0.1:{origin}"
"""
FRAMING = ("content-length", "transfer-encoding")


def command(name, conf, binary):
    if name == "nginx":
        return [find("nginx"), "-p", conf.parent, "-c", conf, "-e", "stderr"]
    if name == "HAProxy":
        return [find("haproxy"), "-db", "-f", conf]
    return [binary, "run", "--config", conf]


def run_proxy(stack, folder, name, binary):
    origin = Origin()
    port, admin = free_ports(2)
    conf = folder / f"{name}.conf"
    text = {"Pointsman": POINTSMAN, "nginx": NGINX, "HAProxy": HAPROXY}[name]
    conf.write_text(text.format(port=port, admin=admin, origin=origin.port))
    start(stack, name, [str(part) for part in command(name, conf, binary)], port,
          folder / f"{name}.log")
    return origin, port


def observe(origin, port, case):
    origin.script(case.answer)
    back, end = exchange(port, case.parts)
    bodiless = case.parts[0].startswith(b"HEAD")
    answers, left = messages(back, bodiless, end == "closed")
    if not answers and not left:
        said = "no answer" if end == "kept" else "closes without an answer"
        return f"{said}; {forwarded(origin, case)}"
    said = " + ".join(answer(one, case) for one in answers)
    if left:
        cut = f"{left[9:12].decode()} cut short" if left.startswith(b"HTTP/") else code(left)
        said = f"{said} + {cut}".removeprefix(" + ")
    return f"{said}, {end}; {forwarded(origin, case)}"


def answer(message, case):
    line, fields, body = message
    words = line.split(" ", 2)
    status = words[1] if line.startswith("HTTP/") else code(line.encode("latin-1"))
    if case.answers and status.startswith("2"):
        framing = [f"{name}: {value}" for name, value in fields if name in (*FRAMING, "x")]
        told = [code(text.encode("latin-1")) for text in (*framing, body) if text]
        return " ".join([status, *told])
    return status


def forwarded(origin, case):
    if case.answers:
        return f"origin asked {len(origin.received()[0])}×"
    whole, left = origin.received()
    told = [request(one, case) for one in whole]
    told += ["an unfinished request" for _ in left]
    return "forwards " + " and ".join(told) if told else "nothing forwarded"


def request(message, case):
    line, fields, body = message
    # What the origin reads is Latin-1 for us.
    kept = [f"{name}: {value}" for name, value in fields if name in (*FRAMING, *case.fields)]
    parts = [line.removesuffix(" HTTP/1.1"), *kept, body]
    told = " ".join(code(part.encode("latin-1")) for part in parts if part)
    return re.sub(r"(127\.0\.0\.1):\d+", r"\1:PORT", told)


def code(data, most=48):
    """As code that a table can hold."""
    text = re.sub(r"(.)\1{99,}", lambda run: f"{run[1]}…", data.decode("latin-1"))
    text = "".join(c if " " <= c <= "~" or c == "…" else escaped(c) for c in text)
    text = text if len(text) <= most else text[:most] + "…"
    return "`" + text.replace("|", "\\|") + "`"


def escaped(character):
    return {"\r": "\\r", "\n": "\\n", "\t": "\\t"}.get(character, f"\\x{ord(character):02x}")


def observe_all(name, binary):
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rules-")))
        origin, port = run_proxy(stack, folder, name, binary)
        return {case.name: observe(origin, port, case)
                for cases in GROUPS.values() for case in cases}


def versions(binary):
    asked = ([binary, "--version"], [find("nginx"), "-v"], [find("haproxy"), "-v"])
    runs = [subprocess.run(command, capture_output=True, text=True) for command in asked]
    return [(run.stdout + run.stderr).splitlines()[0] for run in runs]


def written(document):
    """The cells of every row, by the first of them."""
    rows = {}
    for line in document.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) >= 4:
            rows[cells[0]] = cells[1:4]
    return rows


def check(document, seen):
    rows = written(document)
    wrong = 0
    for name, cells in seen.items():
        if rows.get(name) != cells:
            wrong += 1
            print(f"{name}\n  seen:    {cells}\n  written: {rows.get(name)}")
    print(f"{len(seen)} rules, {wrong} not as {document} has them")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/debug/pointsman")
    parser.add_argument("--check", type=Path, metavar="FILE")
    args = parser.parse_args()
    names = ("Pointsman", "nginx", "HAProxy")
    with ThreadPoolExecutor(len(names)) as pool:
        columns = list(pool.map(lambda name: observe_all(name, args.binary), names))
    seen = {name: [column[name] for column in columns] for name in columns[0]}
    print("\n".join(versions(args.binary)))
    if args.check:
        return check(args.check, seen)
    for title, cases in GROUPS.items():
        print(f"\n### {title}\n\n| rule | " + " | ".join(names) + " |\n|---|---|---|---|")
        for case in cases:
            print(f"| {case.name} | " + " | ".join(seen[case.name]) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
