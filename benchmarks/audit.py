"""Measure the cost of the audit log for writers: `python -m benchmarks.audit [--database postgres://…]`.

Eight threads in one process store memories for one tenant, alternately with and without the audit log, while the log is
being sealed. The exit status is 0 if the rate with the log is at least 80% of the rate without it, and if the chain is
unbroken.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

GOAL = 0.8
WRITERS = 8


def rate(write: Callable[[int, int], None], start: int, count: int) -> float:
    """Return the combined rate of all writers, in writes per second."""
    from django.db import connection

    def work(number: int) -> None:
        for at in range(start, start + count):
            write(number, at)
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(WRITERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return WRITERS * count / (time.perf_counter() - began)


def measure(rounds: int, count: int) -> int:
    from memories import services
    from memories.coordinates import of
    from memories.new_memory import NewMemory
    from tenants import audit
    from tenants.audit import sealing, verification
    from tenants.caller import Caller
    from tenants.models import AuditEvent, Tenant

    tenant = Tenant.objects.create(slug=f"audited-{secrets.token_hex(4)}")
    caller, operator = Caller.command(tenant), Caller.command(Tenant.objects.get(slug="default"))
    text = "Notes by eight writers about the river, the weather and the price of bread."

    def write(number: int, at: int) -> None:
        services.store(caller, NewMemory(of([number, at]), {"text": text, "n": at}, metadata={"writer": number}))

    done = threading.Event()

    def seal() -> None:
        while not done.wait(2):
            sealing.seal()

    sealer = threading.Thread(target=seal)
    sealer.start()
    rate(write, 0, 50)  # warm up
    ratios, written, at = [], WRITERS * 50, 50
    for number in range(rounds):
        found: dict[bool, float] = {}
        for on in (True, False) if number % 2 else (False, True):
            if on:
                found[on] = rate(write, at, count)
                written += WRITERS * count
            else:
                with mock.patch.object(audit, "record", return_value=None):
                    found[on] = rate(write, at, count)
            at += count
        ratios.append(found[True] / found[False])
        print(f"round {number + 1}: {found[True]:7.0f}/s with, {found[False]:7.0f}/s without, {ratios[-1]:.2f}")
    done.set()
    sealer.join()
    sealing.seal()
    report: Any = verification.check(operator, only=tenant)
    noted = AuditEvent.objects.filter(tenant=tenant).count()
    ratio = statistics.median(ratios)
    print(f"{ratio:.0%} of the rate without it (median); {noted} rows for {written} writes in {report.blocks} blocks, ")
    print("one unbroken chain" if report.intact and not report.unsealed else f"broken: {report.problems}")
    return 0 if ratio >= GOAL and report.intact and noted == written else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--writes", type=int, default=250, help="writes per writer and turn")
    parser.add_argument("--database", default="", help="URL of an empty database, postgres://… (default: SQLite)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "somamemory.settings",
            "SOMA_DATA_DIR": folder,
            "SOMA_SECRET_KEY": secrets.token_urlsafe(50),
            "SOMA_DATABASE_URL": options.database,
            "SOMA_INDEXER": "none",
            "SOMA_LOG_LEVEL": "WARNING",
        }
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return measure(options.rounds, options.writes)


if __name__ == "__main__":
    sys.exit(main())
