"""Measure how concurrent writers allocate coordinates: `python -m benchmarks.allocation [--database postgres://…]`.

Several processes with eight writers each (with SQLite, one process with 32 writers) store memories, alternately with
and without a given coordinate. The exit status is 0 if all allocated coordinates were free and distinct, and if
writers did not wait for each other: the p99 latency without a given coordinate must be at most 1.25 times the p99
latency with one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from benchmarks.moving import empty_database

WRITERS = 32
THREADS = 8
GOAL = 1.25
PAYLOAD = {"text": "Notes by many writers about the river, the weather and the price of bread."}


@dataclass
class Times:
    """Seconds taken to store without and with a coordinate, and the number of attempts to allocate a coordinate."""

    allocated: list[float] = field(default_factory=list)
    given: list[float] = field(default_factory=list)
    attempts: int = 0


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] * 1000


def work(number: int, threads: int, stores: int) -> Times:
    """Store memories with several writers in this process. Half of the store operations allocate a coordinate."""
    from django.db import connection

    from memories import allocation, coordinates, services
    from memories.new_memory import NewMemory
    from tenants.caller import Caller
    from tenants.models import Tenant

    caller = Caller.command(Tenant.objects.get(slug="default"))
    times = Times()

    def allocate() -> coordinates.Coordinate:
        times.attempts += 1
        return allocation.allocate()

    def store(coordinate: coordinates.Coordinate | None, into: list[float]) -> None:
        began = time.perf_counter()
        services.store(caller, NewMemory(coordinate, dict(PAYLOAD)))
        into.append(time.perf_counter() - began)

    def write(thread: int) -> None:
        for at in range(stores // 2):
            store(None, times.allocated)
            store(coordinates.of([number, thread, at]), times.given)
        connection.close()

    with mock.patch("memories.coordinate_assignment.allocate", allocate), ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(threads)))
    return times


def begin() -> None:
    import django

    django.setup()


def measure(processes: int, stores: int) -> int:
    from memories.models import Memory
    from tenants.models import Tenant

    threads = WRITERS // processes
    with multiprocessing.get_context("spawn").Pool(processes, begin) as pool:
        parts = pool.starmap(work, [(number, threads, stores // WRITERS) for number in range(processes)])
    allocated = [seconds for part in parts for seconds in part.allocated]
    given = [seconds for part in parts for seconds in part.given]
    taken = sum(part.attempts for part in parts) - len(allocated)
    memories = Memory.objects.for_tenant(Tenant.objects.get(slug="default")).count()
    ratio = percentile(allocated, 0.99) / percentile(given, 0.99)
    for name, times in (("without a coordinate", allocated), ("at a coordinate", given)):
        print(f"{len(times)} stored {name}: p50 {percentile(times, 0.5):.2f} ms, p99 {percentile(times, 0.99):.2f} ms")
    print(f"{taken} coordinates were already taken; {memories} memories; p99 ratio {ratio:.2f}")
    return 0 if not taken and memories == len(allocated) + len(given) and ratio <= GOAL else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--database", help="URL of a PostgreSQL server on which to create a database (default: SQLite)")
    parser.add_argument("--stores", type=int, default=200_000, help="number of memories to store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "somamemory.settings",
            "SOMA_DATA_DIR": folder,
            "SOMA_SECRET_KEY": secrets.token_urlsafe(50),
            "SOMA_EMBEDDING_PROVIDER": "hashing",
            "SOMA_LOG_LEVEL": "ERROR",
            "SOMA_MAX_BACKLOG": "1000000",  # nothing is indexed
        }
        if options.database:
            with empty_database(options.database) as database:
                return run(options.stores, WRITERS // THREADS, SOMA_DATABASE_URL=database)
        return run(options.stores, 1)


def run(stores: int, processes: int, **settings: Any) -> int:
    os.environ |= settings
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    return measure(processes, stores)


if __name__ == "__main__":
    sys.exit(main())
