"""Folders, without a database."""

from __future__ import annotations

import time
import unicodedata

from conversations import folders


def test_a_folder_of_the_maximum_length_may_be_decomposed() -> None:
    longest = "/" + "\u1f82" * (folders.MAX_LENGTH - 1)

    assert folders.problem(unicodedata.normalize("NFD", longest) + "/") is None
    assert folders.problem(longest + "\u1f82") == f"must have at most {folders.MAX_LENGTH} characters"


def test_a_folder_with_many_combining_marks_is_rejected_fast() -> None:
    started = time.thread_time()

    assert folders.problem("/a" + "\u0301\u0323" * 30_000) == f"must have at most {folders.MAX_LENGTH} characters"
    assert time.thread_time() - started < 1
