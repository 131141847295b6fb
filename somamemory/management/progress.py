"""One line that is written over on a terminal; else a line for each phase."""

from __future__ import annotations

import sys
from typing import TextIO

_WIDTH = 30


class Bar:
    """Call it with a phase and how far that has come, 0 to 1."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.terminal = getattr(sys.stdout, "isatty", lambda: False)()
        self.phase = ""

    def __call__(self, phase: str, share: float) -> None:
        if self.terminal:
            bar = ("█" * round(share * _WIDTH)).ljust(_WIDTH, "░")
            self.out.write(f"\r{phase[:20]:20} {bar} {share:4.0%}".ljust(78), ending="")  # type: ignore[call-arg]
        elif phase.partition(",")[0] != self.phase:
            self.phase = phase.partition(",")[0]
            self.out.write(self.phase + " …")
        self.out.flush()

    def end(self) -> None:
        if self.terminal:
            self.out.write("\r" + " " * 78 + "\r", ending="")  # type: ignore[call-arg]
