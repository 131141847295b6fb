"""Counting tokens and embedding do not fill the caches of the tokenizers."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence

import pytest

from conversations.context import tokens
from memories.embeddings.wordllama import WordLlamaEmbedder

pytestmark = pytest.mark.pure
LIBC = ctypes.CDLL(None)
THREADS, TEXTS = 4, 600


class Malloc(ctypes.Structure):
    """The result of glibc's mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used", "free", "keepcost")
    ]


def allocated_mb() -> float:
    LIBC.mallinfo2.restype = Malloc
    return float(LIBC.mallinfo2().used / 2**20)


@pytest.mark.skipif(not hasattr(LIBC, "mallinfo2"), reason="glibc only")
@pytest.mark.parametrize("process", [tokens.count, WordLlamaEmbedder().embed], ids=["counting", "embedding"])
def test_threads_do_not_cache_the_texts_that_they_process(process: Callable[[Sequence[str]], object]) -> None:
    started = threading.Barrier(THREADS + 1)
    done = threading.Barrier(THREADS + 1)
    ended = threading.Event()

    def work(thread: int) -> None:
        process(["warm up"])
        started.wait(60)
        for number in range(TEXTS):
            process([f"{thread} {number} " + "a boat on the lake " * 5])
        done.wait(60)
        ended.wait(60)  # a thread that ends frees its cache

    threads = [threading.Thread(target=work, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    started.wait(60)
    before = allocated_mb()
    done.wait(60)
    after = allocated_mb()
    ended.set()
    for thread in threads:
        thread.join()

    assert after - before < 5  # the caches would take 10 MB
