"""The changes that a layer made to a request or response, as listed in the `X-Compat-Changes` response header."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse

HEADER = "X-Compat-Changes"
_MAX_NOTES = 20
_MAX_NAME_LENGTH = 100


@dataclass
class Changes:
    """Notes on how a request was interpreted, such as `messages.0.timestamp: read as UTC`. Twenty are sent at most."""

    notes: list[str] = field(default_factory=list)
    count: int = 0

    def note(self, name: str, change: str) -> None:
        self.count += 1
        if len(self.notes) < _MAX_NOTES:
            shown = "".join(char if char.isascii() and char.isprintable() and char != ";" else "?" for char in name)
            self.notes.append(f"{shown[:_MAX_NAME_LENGTH]}: {change}")

    def report(self, response: HttpResponse) -> None:
        if self.notes:
            omitted = [f"{self.count - len(self.notes)} more"] if self.count > len(self.notes) else []
            response[HEADER] = "; ".join([*self.notes, *omitted])


def changes_of(request: HttpRequest) -> Changes:
    """Return a request's `Changes` object, which is created on first use."""
    changes: Changes = vars(request).setdefault("compat_changes", Changes())
    return changes
