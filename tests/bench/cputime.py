"""CPU time of a process, its threads and its descendants, read from /proc."""

import os
from pathlib import Path


class Lost(Exception):
    """Some of the CPU time went with threads that ended."""


def process_tree(pid):
    pids = [pid]
    for parent in pids:
        for listing in Path(f"/proc/{parent}/task").glob("*/children"):
            pids.extend(map(int, listing.read_text().split()))
    return pids


def ticks_micros(pids):
    """Clock ticks by process: coarse, but threads that ended are counted."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields) * 1e6 / os.sysconf("SC_CLK_TCK")


def schedstat_micros(pids):
    """Run time of every living thread, which the kernel keeps in nanoseconds."""
    threads = [t for pid in pids for t in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(t.read_text().split()[0]) for t in threads) / 1e3


def clock():
    return "schedstat" if schedstat_micros([os.getpid()]) > 0 else "clock ticks"


def sample(pid):
    pids = process_tree(pid)
    return schedstat_micros(pids), ticks_micros(pids)


def spent(before, after):
    """Microseconds between two samples."""
    fine, coarse = after[0] - before[0], after[1] - before[1]
    if clock() == "clock ticks":
        return coarse
    if abs(fine - coarse) > 0.05 * coarse + 50_000:
        raise Lost("threads ended during the round, and their CPU time is lost")
    return fine
