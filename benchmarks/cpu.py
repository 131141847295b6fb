"""Measure the CPU time of processes and all their descendants (Linux)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Collection, Iterator

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LOOPS = 500_000


def used_s(roots: Collection[int]) -> float:
    """Return the CPU seconds used by these processes and their descendants, including children that have ended."""
    parents, ticks = {}, {}
    for pid, fields in _statuses():
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return sum(ticks[pid] for pid in parents if _descends(pid, roots, parents)) / _TICKS_PER_S


def parent_of(pid: int) -> int:
    return int(_status(pathlib.Path(f"/proc/{pid}"))[1])


def fixed_loop_ms() -> float:
    """Return the CPU time of a fixed loop, which shows how fast the machine is at the moment."""
    began = time.process_time()
    total = 0
    for number in range(_LOOPS):
        total += number % 7
    return (time.process_time() - began) * 1000


def _descends(pid: int, roots: Collection[int], parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid in roots:
            return True
        pid = parents[pid]
    return False


def _statuses() -> Iterator[tuple[int, list[str]]]:
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended
            yield int(folder.name), _status(folder)


def _status(folder: pathlib.Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the name: state, parent, …"""
    return (folder / "stat").read_text().rpartition(")")[2].split()
