"""The results of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class Finding:
    """The result of a check. A finding that is not ok has a remedy."""

    name: str
    status: str
    detail: str
    remedy: str = ""


def ok(name: str, detail: str) -> Finding:
    return Finding(name, OK, detail)


def warning(name: str, detail: str, remedy: str) -> Finding:
    return Finding(name, WARNING, detail, remedy)


def error(name: str, detail: str, remedy: str) -> Finding:
    return Finding(name, ERROR, detail, remedy)
