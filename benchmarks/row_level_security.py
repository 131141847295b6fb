"""Measure the cost of row-level security: `python -m benchmarks.row_level_security --database postgres://…`.

The database must be empty, and a superuser must have prepared it: `manage.py row_level_security on` prints the
statements for this. The requests run in this process, alternately without and with row-level security, so that a busy
machine affects both equally. "Alternating" is the worst case: each request comes from another tenant, so it needs an
additional statement. Other work on the machine affects the times but hardly affects the CPU time, which covers this
process and PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import secrets
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from tenants.caller import Caller

TENANTS = 10
MEMORIES = """
    INSERT INTO sfm_memories (
        id, tenant_id, namespace, coordinate_key, payload, metadata, memory_type, importance, context, terms, version,
        created_at, updated_at
    )
    SELECT gen_random_uuid(), %s, 'default', lpad(to_hex(n), 16, '0'),
        jsonb_build_object('text', 'word' || n, 'kind', 'k' || n %% 500), '{}', 'episodic', 0, '',
        'word' || n %% 2000 || ' often' || n %% 7, 1, now(), now()
    FROM generate_series(1, %s) AS n
"""
Request = Callable[["Caller", int], object]


def requests() -> dict[str, Request]:
    """Return the kinds of requests by name. Each is a function of a caller and a number that varies the request."""
    from memories import coordinates, selectors, services
    from memories.filters import parse
    from memories.new_memory import NewMemory
    from memories.search import lexical
    from memories.search.selection import Selection
    from memories.search.statistics import statistics
    from memories.selectors import Narrowing

    def fetch(caller: Caller, number: int) -> object:
        return selectors.get_memory(caller, "default", coordinates.from_key(f"{number % 1000 + 1:016x}"))

    def words(caller: Caller, number: int) -> object:
        selection, terms = Selection.of(selectors.live(caller, ["default"])), [f"word{number % 2000}", "often3"]
        stats = statistics(caller.tenant, ["default"], terms)
        return lexical.matches(selection, ["default"], stats, caller.tenant)

    def filtered(caller: Caller, number: int) -> object:
        return selectors.list_memories(caller, "default", Narrowing(filters=parse({"kind": f"k{number % 500}"})))

    def page(caller: Caller, number: int) -> object:
        return selectors.list_memories(caller, "default", Narrowing())

    def store(caller: Caller, number: int) -> object:
        return services.store(caller, NewMemory(coordinates.of([number % 100, 1]), {"text": "a memory"}))

    return {"fetch": fetch, "full text": words, "JSON filter": filtered, "list of 50": page, "store": store}


def prepare(memories: int) -> list[Caller]:
    """Fill the database, and return a caller per tenant."""
    from django.core.management import call_command
    from django.db import connection

    from memories.index import generations
    from tenants import row_level_security
    from tenants.caller import SCOPES, Caller
    from tenants.models import Tenant

    call_command("migrate", verbosity=0)
    generations.active()
    tenants = [Tenant.objects.create(slug=f"bench-{number}-{uuid.uuid4().hex[:6]}") for number in range(TENANTS)]
    with connection.cursor() as cursor:
        cursor.executemany(MEMORIES, [(tenant.id, memories // TENANTS) for tenant in tenants])
        cursor.execute("VACUUM (ANALYZE) sfm_memories")
    row_level_security.install()
    return [Caller(tenant, "key:bench", frozenset(SCOPES)) for tenant in tenants]


def timed_ms(ask: Request, caller: Caller, number: int) -> float:
    from somamemory.db import tenant_scope

    with tenant_scope.request():
        tenant_scope.enter(caller.tenant.id)
        began = time.perf_counter()
        ask(caller, number)
        return (time.perf_counter() - began) * 1000


@dataclass
class Cost:
    """The duration of each request in ms, and the total CPU time of this process and PostgreSQL."""

    times_ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0

    def row(self) -> list[float]:
        return [*(percentile(self.times_ms, percent) for percent in (50, 95)), self.cpu_ms / len(self.times_ms)]


def measure(ask: Request, callers: Iterator[Caller], repeats: int) -> dict[bool, Cost]:
    """Return the cost without and with row-level security."""
    from django.conf import settings
    from django.db import connection

    costs = {False: Cost(), True: Cost()}
    for turn in range(20):
        for on, cost in costs.items():
            settings.ROW_LEVEL_SECURITY = on
            connection.close()  # as in a process that was started with this setting
            for number in range(20):  # until all statements are prepared
                timed_ms(ask, next(callers), number)
            before_ms = cpu_ms()
            cost.times_ms += [timed_ms(ask, next(callers), turn * repeats + at) for at in range(repeats // 20)]
            cost.cpu_ms += cpu_ms() - before_ms
    settings.ROW_LEVEL_SECURITY = False
    connection.close()
    return costs


def cpu_ms() -> float:
    """Return the CPU time of this thread and of its session in PostgreSQL, which must be on this machine (Linux)."""
    from django.db import connection

    session = pathlib.Path(f"/proc/{connection.connection.info.backend_pid}/schedstat").read_text()
    return time.thread_time() * 1_000 + int(session.split()[0]) / 1_000_000


def percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]


def report(callers: list[Caller], repeats: int) -> None:
    print(f"{'ms: p50, p95, CPU':26} {'without':>24} {'with':>24} {'more: p50, CPU':>16}")
    for name, ask in requests().items():
        for kind, order in (("one tenant", cycle(callers[:1])), ("alternating", cycle(callers))):
            costs = measure(ask, order, repeats)
            off, on = costs[False].row(), costs[True].row()
            both = (" ".join(f"{ms:7.3f}" for ms in row) for row in (off, on))
            more = " ".join(f"{on[at] - off[at]:+7.3f}" for at in (0, 2))
            print(f"{name + ', ' + kind:26} {next(both):>24} {next(both):>24} {more:>16}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, help="URL of an empty database, postgres://…")
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=1_000, help="requests of each kind in each mode")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soma-bench-") as folder:
        os.environ |= {"SOMA_DATABASE_URL": options.database, "SOMA_SECRET_KEY": secrets.token_urlsafe(50)}
        os.environ |= {"SOMA_DATA_DIR": folder, "DJANGO_SETTINGS_MODULE": "somamemory.settings"}
        django.setup()
        report(prepare(options.memories), options.repeats)


if __name__ == "__main__":
    main()
