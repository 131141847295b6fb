"""The memory used by a large request is returned to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

USE = """
import threading
from pathlib import Path
from somamemory import allocator
allocator.return_large_blocks()
def mb():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024
def request():
    for _ in range(3):
        large = [b"x" * 10_000_000 for _ in range(10)]
        kept.append(bytes(200_000))
        del large
kept, before = [], mb()
for _ in range(4):
    thread = threading.Thread(target=request)
    thread.start()
    thread.join()
print(mb() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc only")
def test_large_blocks_are_returned_to_the_system() -> None:
    ran = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True, check=True, timeout=120)

    assert int(ran.stdout) < 20
