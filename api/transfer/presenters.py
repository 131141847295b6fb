"""Present import reports as JSON."""

from __future__ import annotations

from api.json import JsonObject
from conversations.transfer.importing import Report


def import_report(report: Report, *, dry_run: bool) -> JsonObject:
    return {
        "conversations": dict(report.counts),
        "messages": report.messages,
        "left_out": dict(report.left_out),
        "failed": report.failed,
        "errors": [{"place": error.place, "reason": error.reason} for error in report.errors],
        "dry_run": dry_run,
    }
