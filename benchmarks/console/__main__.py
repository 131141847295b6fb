"""Visit every page of the admin console: `python -m benchmarks.console` (needs Chromium and its driver).

The benchmark creates an installation with 100,000 generated memories, starts a real server, signs in with a headless
browser, and visits every page. It measures the time until the page has loaded (in the explorer, until the map is
drawn), and reports errors and warnings from the browser. The exit status is 1 if a page took a second or more, or if
there were any errors. `--pictures FOLDER` saves a screenshot of each page.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import sys
import tempfile
import time

from testing.browser import Browser, Visit
from testing.server import Server

LIMIT_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--pictures", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, help="data folder, which is kept and reused if it exists")
    parser.add_argument("--index", action="store_true", help="wait for the vector index first")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        data = asked.data or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data.mkdir(parents=True, exist_ok=True)
        os.environ.update(
            SOMA_DATA_DIR=str(data), DJANGO_SETTINGS_MODULE="somamemory.settings", SOMA_MAX_BACKLOG="10000000"
        )
        import django

        django.setup()
        from benchmarks.console.data import NAME, PASSWORD, furnish, give_key
        from benchmarks.console.pages import walk

        if not (data / "furnished").exists():
            began = time.perf_counter()
            furnish(asked.memories)
            (data / "furnished").touch()
            print(f"{asked.memories:,} memories created in {time.perf_counter() - began:.0f} s", flush=True)
        server = Server(data, SOMA_INDEXER="thread" if asked.index else "none")
        give_key(server.key)
        stack.enter_context(server)
        if asked.index:
            print(f"indexed after {server.client().wait_until_indexed(3600):.0f} s", flush=True)
        settle(server)
        first = server.client().post("/memories/search", {"query": "warm library garden", "top_k": 100})
        print(f"first search after the start: {first['took_ms']:.0f} ms", flush=True)
        if asked.pictures:
            asked.pictures.mkdir(parents=True, exist_ok=True)
        browser = stack.enter_context(Browser(f"http://127.0.0.1:{server.port}", asked.pictures))
        browser.sign_in(NAME, PASSWORD)
        walk(browser)
    return report(browser.visits)


def settle(server: Server, for_s: float = 3.0, within_s: float = 600.0) -> None:
    """Wait until the server is idle: when it starts, it compares the index with the database."""
    until = time.monotonic() + within_s
    before = server.cpu_s()
    while time.monotonic() < until:
        time.sleep(for_s)
        now = server.cpu_s()
        if now - before < 0.05 * for_s:
            return
        before = now


def report(visits: list[Visit]) -> int:
    worst = 0
    for visit in visits:
        print(
            f"{visit.name:24} {visit.loaded_s * 1000:7.0f} ms loaded {visit.ready_s * 1000:7.0f} ms ready",
            *visit.complaints,
        )
        worst |= bool(visit.complaints) or visit.ready_s >= LIMIT_S
    print(
        "every page took less than a second, without errors"
        if not worst
        else "FAILED: some pages were slow or had errors"
    )
    return worst


if __name__ == "__main__":
    sys.exit(main())
