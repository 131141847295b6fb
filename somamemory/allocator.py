"""Settings for the C library's memory allocator."""

from __future__ import annotations

import ctypes

# Parameter numbers from glibc's malloc.h, and their values.
_MMAP_THRESHOLD = (-3, 128 * 1024)
_ARENA_MAX = (-8, 1)


def return_large_blocks() -> None:
    """Use one heap, and return blocks of 128 KiB or more to the system once they are freed. Does nothing without glibc.

    By default, glibc raises this threshold, to at most 32 MiB, when larger blocks are freed, and keeps freed memory in
    a separate heap per thread. After a few requests with 9.8 MB texts, a server with eight threads held on to
    600 MB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_MMAP_THRESHOLD, _ARENA_MAX):
            mallopt(*parameter)


def return_free_pages() -> None:
    """Return the free pages between used blocks to the system. Takes up to 50 ms. Does nothing without glibc."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
