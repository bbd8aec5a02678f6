"""Finding, starting and stopping the programs under comparison."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

import cputime

PACKAGES = {"nginx": "nginx", "haproxy": "haproxy", "wrk": "wrk", "taskset": "util-linux",
            "h2load": "nghttp2-client", "openssl": "openssl"}
SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
START_DEADLINE = 10.0
STOP_DEADLINE = 5.0


class Failed(Exception):
    """A run whose numbers must not be used."""


class Missing(Exception):
    """A program, or a core, that the comparison needs and the host lacks."""


def find(program):
    path = shutil.which(program, path=SEARCH_PATH)
    if path is None:
        raise Missing(f"{program} not found; install the Debian package {PACKAGES[program]}")
    return path


def free_ports(count):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def pinned(core, command):
    return [find("taskset"), "-c", str(core), *map(str, command)]


def stop(process):
    tree = cputime.process_tree(process.pid) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def start(stack, name, command, port, log):
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    stack.callback(stop, process)
    deadline = time.monotonic() + START_DEADLINE
    while not accepts(port):
        # Waiting for an exit paces the polling and notices a proxy that gave up.
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(0.02)
            raise Failed(f"{name} exited with {code}:\n{log.read_text(errors='replace')}")
        if time.monotonic() > deadline:
            raise Failed(f"{name} did not listen in time:\n{log.read_text(errors='replace')}")
    return process.pid
