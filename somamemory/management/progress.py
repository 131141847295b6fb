"""The progress bar for all commands and benchmarks."""

from __future__ import annotations

import time
from typing import TextIO

from django.core.management.base import OutputWrapper

_WIDTH = 30
_LINE = 78
_EVERY_S = 0.1


class ProgressBar:
    """Overwrites one line on a terminal. Elsewhere it writes one line per phase.

    Call it with a phase, the completed fraction from 0 to 1, and a note such as "3 of 10".
    """

    def __init__(self, out: OutputWrapper | TextIO) -> None:
        self._out = out
        self._on_terminal = out.isatty()
        self._phase = ""
        self._next_at = 0.0

    def __call__(self, phase: str, share: float | None = None, note: str = "") -> None:
        if self._on_terminal:
            now = time.monotonic()
            if phase == self._phase and now < self._next_at:
                return
            self._phase, self._next_at = phase, now + _EVERY_S
            self._write("\r" + _line(phase, share, note).ljust(_LINE)[:_LINE])
        elif (name := phase.partition(",")[0]) != self._phase:
            self._phase = name
            self._write(_line(name, None, note) + "\n")
        self._out.flush()

    def clear(self) -> None:
        if self._on_terminal:
            self._write("\r" + " " * _LINE + "\r")

    def _write(self, text: str) -> None:
        if isinstance(self._out, OutputWrapper):
            self._out.write(text, ending="")
        else:
            self._out.write(text)


def _line(phase: str, share: float | None, note: str) -> str:
    if share is None:
        return f"{phase} … {note}".rstrip()
    bar = ("█" * round(min(1.0, share) * _WIDTH)).ljust(_WIDTH, "░")
    return f"{phase[:20]:20} {bar} {share:4.0%}  {note}".rstrip()
