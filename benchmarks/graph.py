"""Measure graph traversals on this machine: `make bench-graph`, or `python -m benchmarks.graph --sizes 100000`.

The benchmark runs in this process, on a temporary SQLite database or, with --database, on an empty PostgreSQL database.
For each size, it creates a graph of random links, with 5 links per address, and hubs with 10,000 outgoing and 1,000
incoming links. For each kind of query, it reports the latency in milliseconds and the number of links read.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memories.coordinates import Coordinate
    from tenants.caller import Caller

SIZES = (100_000, 1_000_000)
HUB = 10_000
INTO_HUB = 1_000
PER_ADDRESS = 5
BATCH = 5_000


class World:
    """A graph with the given number of links, in its own tenant."""

    def __init__(self, size: int) -> None:
        self.chance = random.Random(size)
        self.size, self.addresses = size, size // PER_ADDRESS
        self.hubs = max(2, size * 3 // 10 // HUB)

    def links(self) -> Iterator[tuple[int, int]]:
        others = range(self.hubs, self.addresses)
        pairs: set[tuple[int, int]] = set()
        for hub in range(self.hubs):
            pairs |= {(hub, other) for other in self.chance.sample(others, HUB)}
            pairs |= {(other, hub) for other in self.chance.sample(others, INTO_HUB)}
        while len(pairs) < self.size:
            pairs.add((self.anywhere(), self.anywhere()))
        mixed = sorted(pairs)
        self.chance.shuffle(mixed)
        return iter(mixed)

    def anywhere(self) -> int:
        return self.chance.randrange(self.hubs, self.addresses)

    def hub(self) -> int:
        return self.chance.randrange(self.hubs)


def fill(world: World) -> Caller:
    from django.db import connection

    from graph.models import Link
    from tenants.caller import SCOPES, Caller
    from tenants.models import Tenant

    tenant = Tenant.objects.create(slug=f"links-{world.size}")
    batch: list[Link] = []
    done = 0

    def write() -> None:
        Link.all_tenants.bulk_create(batch, batch_size=BATCH if connection.vendor == "postgresql" else None)
        batch.clear()

    for start, end in world.links():
        strength = world.chance.randrange(1, 101) / 100
        kind = world.chance.choice(("related", "follows", "cites"))
        row = {"from_key": address(start).key, "to_key": address(end).key, "link_type": kind, "strength": strength}
        batch.append(Link(tenant=tenant, namespace="default", **row))
        if len(batch) == BATCH:
            write()
            done += BATCH
            progress(f"{world.size:,} links", done / world.size)
    write()
    progress(f"{world.size:,} links", 1)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) sfm_graph_links")
    return Caller(tenant=tenant, actor="key:bench", scopes=frozenset(SCOPES))


def address(number: int) -> Coordinate:
    from memories import coordinates

    return coordinates.of([1.0, float(number // 1000), float(number % 1000)])


def questions(world: World, caller: Caller) -> dict[str, Callable[[], Any]]:
    from graph import selectors
    from graph.selectors import LinkFilter

    def near(
        where: Callable[[], int], hops: int, direction: Any = "out", *, limit: int = 50, offset: int = 0
    ) -> Callable[[], Any]:
        return lambda: selectors.neighbours(
            caller, "default", address(where()), LinkFilter(direction), hops=hops, limit=limit, offset=offset
        )

    def path(weighted: bool, most: int = 6) -> Callable[[], Any]:
        return lambda: selectors.shortest_path(
            caller, "default", address(world.anywhere()), address(world.anywhere()), LinkFilter(), max_length=most,
            weighted=weighted,
        )  # fmt: skip

    queries = {f"neighbours k={hops}, random start": near(world.anywhere, hops) for hops in (1, 2, 3)}
    queries |= {f"neighbours k={hops}, page of 1000": near(world.anywhere, hops, limit=1000) for hops in (1, 2, 3)}
    queries |= {f"neighbours k={hops}, both directions": near(world.anywhere, hops, "both") for hops in (1, 2, 3)}
    queries |= {f"neighbours k={hops}, of a hub": near(world.hub, hops) for hops in (1, 2, 3)}
    queries |= {"neighbours k=2, of a hub, last page": near(world.hub, 2, offset=40_000, limit=1000)}
    queries |= {"neighbours k=3, last page": near(world.anywhere, 3, offset=40_000, limit=1000)}
    queries |= {"path": path(False), "path, weighted": path(True)}
    return queries


def measure(ask: Callable[[], Any], repeats: int) -> dict[str, float]:
    for _ in range(5):
        ask()
    latencies, read, truncated = [], [], 0
    for _ in range(repeats):
        began = time.perf_counter()
        answer = ask()
        latencies.append((time.perf_counter() - began) * 1000)
        read.append(answer.read)
        truncated += answer.truncated
    cuts = statistics.quantiles(latencies, n=20)
    return {
        "p50, ms": statistics.median(latencies),
        "p95, ms": cuts[18],
        "read p50": statistics.median(read),
        "read p95": statistics.quantiles(read, n=20)[18],
        "cut, %": 100 * truncated / repeats,
    }


def progress(what: str, share: float) -> None:
    if sys.stderr.isatty():
        filled = int(share * 40)
        print(f"\r{what:>16} [{'#' * filled}{' ' * (40 - filled)}]", end="" if share < 1 else "\n", file=sys.stderr)


def table(results: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(results.values())))
    lines = [f"{'':38}" + "".join(f"{name:>11}" for name in names)]
    lines += [f"{what:38}" + "".join(f"{row[name]:>11,.1f}" for name in names) for what, row in results.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="links")
    parser.add_argument("--repeats", type=int, default=200, help="number of queries of each kind")
    parser.add_argument("--database", default="", help="URL of an empty database, postgres://…")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soma-bench-") as folder:
        # Settings are read only once, so set these first.
        for name in [name for name in os.environ if name.startswith("SOMA_")]:
            del os.environ[name]
        os.environ |= {"SOMA_DATA_DIR": str(pathlib.Path(folder)), "DJANGO_SETTINGS_MODULE": "somamemory.settings"}
        if options.database:
            os.environ |= {"SOMA_DATABASE_URL": options.database, "SOMA_SECRET_KEY": secrets.token_urlsafe(50)}
        import django
        from django.core.management import call_command
        from django.db import connection

        django.setup()
        call_command("migrate", verbosity=0)
        for size in options.sizes:
            world = World(size)
            caller = fill(world)
            results = {what: measure(ask, options.repeats) for what, ask in questions(world, caller).items()}
            print(f"\n{size:,} links, {world.hubs} hubs of {HUB:,}, {connection.vendor}\n{table(results)}", flush=True)
        connection.close()


if __name__ == "__main__":
    main()
