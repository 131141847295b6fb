"""Token counts are exact, and neither counting nor embedding fills memory with caches."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some

from conversations.context import tokens
from memories.embeddings.wordllama import WordLlamaEmbedder
from somamemory import deadline
from somamemory.errors import DeadlineExceeded

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


def tokens_of_the_whole(texts: Sequence[str]) -> list[int]:
    return [len(encoding) for encoding in tokens._loaded().encode_batch(list(texts), add_special_tokens=False)]


pieces = some.sampled_from([*"ab  \n\té日.,u\u2581\u00a0", "<s>", "</s>", "<unk>"])


@given(some.lists(some.lists(pieces, max_size=20).map("".join), max_size=10))
def test_the_words_of_a_text_have_as_many_tokens_as_the_text(texts: list[str]) -> None:
    assert tokens.count(texts) == tokens_of_the_whole(texts)


def test_a_long_text_is_counted_as_a_whole() -> None:
    text = "a boat  on the lake " * 2_000

    assert tokens.count([text, "a boat"]) == tokens_of_the_whole([text, "a boat"])


def test_the_counts_of_a_limited_number_of_short_words_are_kept() -> None:
    for start in range(0, 3 * tokens.MAX_WORDS, 5_000):
        tokens.count(
            [" ".join(f"w{number}" for number in range(at, at + 1_000)) for at in range(start, start + 5_000, 1_000)]
        )

    assert 0 < len(tokens._counts) <= tokens.MAX_WORDS
    assert max(map(len, tokens._counts)) <= tokens.LONGEST_WORD


def test_counting_stops_at_the_deadline() -> None:
    with deadline.within(0), pytest.raises(DeadlineExceeded):
        tokens.count(["a word that is longer than those whose counts are kept: " + "x" * 100])
