"""Limit the size of a response that lists items: a page ends early if it would take too much memory."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings


def fitting(sizes: Iterable[int]) -> int:
    """Return how many items fit in one response, given the sizes of all items in bytes.

    The first item always fits, so that every list can be read to its end.
    """
    count = total = 0
    most = settings.MAX_RESPONSE_BYTES
    for size in sizes:
        total += size
        if count and total > most:
            break
        count += 1
    return count
