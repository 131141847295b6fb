"""Kill each component of an installation with SIGKILL in turn, while clients write, and check that no data is lost.

    python -m benchmarks.chaos [--writes 10000] [--clients 8] [--database postgres://…] [--down 5]

The installation consists of two web workers, a Celery worker, Celery beat, two Redis servers and a Milvus server
(installed by scripts/test-milvus.sh). The benchmark also needs the URL of a PostgreSQL server, on which it creates a
database that it drops afterwards.

Clients store, replace and delete memories. A write that was rejected or got no response is sent again until it is
acknowledged; a store request keeps its Idempotency-Key. The version of each memory therefore shows how often it was
changed.

The exit status is 0 if every acknowledged write has taken effect exactly once, and the index matches the database
within 60 s of the last restart.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from testing.milvus_server import MilvusServer, Missing
from testing.processes import Installation, installation, wait_for
from testing.writers import Progress, Writer

CONVERGE_S = 60
TURN_S = 120
ADDRESSES = 250  # per client; the same addresses are written repeatedly
SETTINGS = {
    "SOMA_WORKERS": "2",
    "SOMA_LOG_LEVEL": "WARNING",
    "SOMA_INDEX_LEASE_S": "30",  # work leased by a killed worker must become available in time
    "SOMA_DRAIN_INTERVAL_S": "3",
}


Part = tuple[str, Callable[[], object], Callable[[], object]]


@dataclass
class Turn:
    """What happened when a component was killed: the effect on clients until it was running again."""

    name: str
    down_s: float
    acknowledged: int
    refused: int
    unanswered: int


class Chaos:
    """An installation whose components are killed in turn."""

    def __init__(self, place: Installation, milvus: MilvusServer, writes: int, clients: int, down_s: float) -> None:
        self.place, self.milvus, self.writes, self.down_s = place, milvus, writes, down_s
        self.progress = Progress()
        self.turns: list[Turn] = []
        addresses = max(10, min(ADDRESSES, writes // clients // 4))
        self.writers = [Writer(at + 1, place.port, self.progress, addresses) for at in range(clients)]
        self.last_restart = 0.0
        self.converged_s = self.compared_s = float("inf")
        self.reconciled = -1
        self.report = ""

    def parts(self) -> list[Part]:
        """Return each component's name with functions that kill and start it.

        Indexing needs the last two components.
        """
        place = self.place
        return [
            ("beat", partial(place.kill, "beat"), partial(place.start, "beat")),
            ("cache Redis", place.cache.kill, place.cache.start),
            ("broker Redis", place.broker.kill, place.broker.start),
            ("one web worker", self._kill_one_web_worker, self._wait_for_web_workers),
            ("all web workers", partial(place.kill, "web"), partial(place.start, "web")),
            ("Celery worker", partial(place.kill, "worker"), partial(place.start, "worker")),
            ("Milvus", self.milvus.kill, self.milvus.start),
        ]

    def run(self, parts: list[Part] | None = None) -> None:
        """Kill each component in turn, then wait for the index."""
        parts = parts or self.parts()
        for writer in self.writers:
            writer.start()
        try:
            for number, part in enumerate(parts):
                self._turn(*part, until=self.writes * (number + 1) // len(parts))
            self._converge()
        finally:
            self.progress.stop()
            for writer in self.writers:
                writer.join(40)

    def _turn(self, name: str, kill: Callable[[], object], start: Callable[[], object], until: int) -> None:
        """Kill a component after a sixth of its share of the writes, and restart it `down_s` seconds later.

        Until the restart, the clients may send only two thirds of these writes.
        """
        progress = self.progress
        first = progress.done
        third = max(1, (until - first) // 3)
        progress.allow(third * 2)
        progress.wait_until(first + third // 2, TURN_S)
        before = (progress.acknowledged, progress.refused.total(), progress.unanswered)
        began = time.monotonic()
        kill()
        progress.wait_until(first + third * 2, self.down_s)
        time.sleep(max(0.0, began + self.down_s - time.monotonic()))
        progress.allow(until - first - third * 2)
        start()
        self.last_restart = time.monotonic()
        after = (progress.acknowledged, progress.refused.total(), progress.unanswered)
        noticed = [new - old for new, old in zip(after, before, strict=True)]
        self.turns.append(Turn(name, self.last_restart - began, *noticed))
        progress.wait_until(until, TURN_S)

    def _converge(self) -> None:
        """Measure the time from the last restart until no memories await indexing and `reconcile` has finished."""
        place = self.place
        with contextlib.suppress(AssertionError):
            wait_for(self._nothing_waits, 3 * CONVERGE_S, 0.2)
            self.converged_s = time.monotonic() - self.last_restart
        done = subprocess.run(
            [*place.command("migrate")[:2], "reconcile"],
            env=place.environment("web"),
            capture_output=True,
            text=True,
            timeout=180,
        )
        self.compared_s = time.monotonic() - self.last_restart
        self.reconciled, self.report = done.returncode, (done.stdout + done.stderr).strip()

    def _nothing_waits(self) -> bool:
        status, answer = self.place.call("GET", "/stats")
        return status == 200 and not answer["index"]["pending"] and not answer["index"]["failed"]

    def _web_workers(self) -> list[int]:
        running = self.place.processes["web"].running
        assert running is not None
        children = pathlib.Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def _kill_one_web_worker(self) -> None:
        self.killed = self._web_workers()[0]
        os.kill(self.killed, signal.SIGKILL)

    def _wait_for_web_workers(self) -> None:
        """Wait until the parent process has started another worker."""
        wait_for(lambda: len(set(self._web_workers()) - {self.killed}) == 2, 30)

    def wrong(self) -> list[str]:
        """Return the problems that were found."""
        wrong = list(self.progress.problems) + self._lost()
        if self.progress.done < self.writes:
            wrong.append(f"only {self.progress.done} of {self.writes} writes were completed")
        if max(self.converged_s, self.compared_s) > CONVERGE_S:
            wrong.append(f"the index matched the database only {self.compared_s:.1f} s after the last restart")
        if self.reconciled or " of which 0 await indexing" not in self.report:
            wrong.append(f"reconcile exited with {self.reconciled}: {self.report}")
        return wrong

    def _lost(self) -> list[str]:
        found: dict[str, tuple[int, int]] = {}
        wrong = []
        for memory in self._memories():
            if memory["coord"] in found:
                wrong.append(f"{memory['coord']} exists twice")
            found[memory["coord"]] = memory["payload"]["number"], memory["version"]
        for writer in self.writers:
            for coord, known in writer.memories.items():
                expected = None if known.number is None else (known.number, known.effects)
                held = found.pop(coord, None)
                if known.certain and held != expected:
                    wrong.append(f"{coord} has (number, version) {held}, but {expected} was acknowledged")
        return wrong + [f"{coord} was never written" for coord in found]

    def _memories(self) -> Iterator[dict[str, Any]]:
        cursor = ""
        while cursor is not None:
            page = self.place.get(f"/memories?limit=1000{cursor and '&cursor=' + cursor}")
            yield from page["items"]
            cursor = page["next_cursor"]

    def print_report(self) -> None:
        print(f"{'killed':16}{'down s':>8}{'acknowledged':>14}{'rejected':>9}{'no response':>12}")
        for turn in self.turns:
            print(f"{turn.name:16}{turn.down_s:8.1f}{turn.acknowledged:14,}{turn.refused:9,}{turn.unanswered:12,}")
        progress = self.progress
        statuses = ", ".join(f"{count:,} with {status}" for status, count in sorted(progress.refused.items()))
        print()
        print(f"acknowledged    {progress.acknowledged:,} of {self.writes:,} writes, {progress.given_up:,} given up")
        print(f"rejected        {statuses or 'none'} (sent again)")
        print(f"no response     {progress.unanswered:,} (sent again)")
        print(f"slowest         {progress.slowest_s:.2f} s")
        print(
            f"converged       {self.converged_s:.1f} s after the last restart; compared after {self.compared_s:.1f} s"
        )
        print(f"reconcile       exit code {self.reconciled}: {' / '.join(self.report.splitlines())}")


@contextlib.contextmanager
def prepared(folder: pathlib.Path, database_url: str, writes: int, clients: int, down_s: float) -> Iterator[Chaos]:
    """Start all components, and always stop them afterwards."""
    for name in ("place", "milvus"):
        (folder / name).mkdir()
    milvus = MilvusServer(folder / "milvus")
    try:
        milvus.start()
        more = {**SETTINGS, "SOMA_MILVUS_URI": milvus.uri}
        with installation(folder / "place", None, database_url, **more) as place:
            place.start("web", "worker", "beat")
            yield Chaos(place, milvus, writes, clients, down_s)
    finally:
        milvus.kill()


@contextlib.contextmanager
def shown(chaos: Chaos) -> Iterator[None]:
    """Show progress on a single line, if the output is a terminal."""
    over = threading.Event()

    def show() -> None:
        while not over.wait(0.5):
            part = chaos.turns[-1].name if chaos.turns else "nothing"
            line = f"{chaos.progress.done:,} of {chaos.writes:,} writes; restarted: {len(chaos.turns)}, last {part}"
            print("\r" + line.ljust(78), end="", flush=True)
        print("\r" + " " * 78 + "\r", end="", flush=True)

    thread = threading.Thread(target=show, daemon=True)
    if sys.stdout.isatty():
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--down", type=float, default=5, help="minimum downtime of each component, in seconds")
    parser.add_argument("--database", default=os.environ.get("SOMA_DATABASE_URL", ""), help="postgres://…")
    options = parser.parse_args()
    if not options.database.startswith("postgres"):
        parser.error("--database (or SOMA_DATABASE_URL) must be the URL of a PostgreSQL database")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sizes = (options.writes, options.clients, options.down)
    with tempfile.TemporaryDirectory(prefix="soma-chaos-") as folder:
        try:
            with prepared(pathlib.Path(folder), options.database, *sizes) as chaos:
                with shown(chaos):
                    chaos.run()
                chaos.print_report()
                wrong = chaos.wrong()
        except KeyboardInterrupt:
            print("\ninterrupted; all processes were stopped", file=sys.stderr)
            return 130
        except Missing as error:
            print(error, file=sys.stderr)
            return 2
    print(
        "\n".join(wrong[:20])
        or "Every acknowledged write has taken effect exactly once, and the index matches the database."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
