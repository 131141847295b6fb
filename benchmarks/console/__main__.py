"""Visit every page of the admin console: `python -m benchmarks.console` (needs Chromium and its driver).

The benchmark creates an installation with 100,000 generated memories, starts a real server, signs in with a headless
browser, and visits every page. For each page, it reports the time until the page was painted and until everything was
drawn (in the explorer, the map), the size of the scripts, errors and warnings from the browser, and the server's
response times over 20 requests. The exit status is 1 if a page took a second or more, or if there were any errors.

--pictures FOLDER saves a screenshot of each page; with --sizes, at widths of 1440, 768 and 390 pixels in both themes.
--explorer COUNT measures only the explorer, with COUNT additional memories in a separate namespace. --tasks performs
five typical user tasks, and prints the clicks and seconds of each.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from testing.browser import Browser, Visit
from testing.server import Server

LIMIT_S = 1.0
SIZES = (1440, 768, 390)
REQUESTS = 20
NAMESPACE = "map"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--pictures", type=pathlib.Path)
    parser.add_argument("--sizes", action="store_true", help="pictures at three widths and in both themes")
    parser.add_argument("--explorer", type=int, default=0, metavar="COUNT")
    parser.add_argument("--tasks", action="store_true")
    parser.add_argument("--data", type=pathlib.Path, help="data folder to keep, and to reuse if it exists")
    parser.add_argument("--index", action="store_true", help="wait for the vector index first")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        data = options.data or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prepare(data, options.memories)
        if options.explorer:
            add_to_map(options.explorer)
        server = stack.enter_context(serve(data, index=options.index))
        base = f"http://127.0.0.1:{server.port}"
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
        if options.sizes:
            return take_pictures(base, options.pictures or pathlib.Path("var/pictures"))
        browser = stack.enter_context(Browser(base, options.pictures))
        return measure(browser, server, options)


def prepare(data: pathlib.Path, memories: int) -> None:
    """Set up Django, and create the installation if the folder is new."""
    data.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        SOMA_DATA_DIR=str(data), DJANGO_SETTINGS_MODULE="somamemory.settings", SOMA_MAX_BACKLOG="10000000"
    )
    import django

    django.setup()
    from benchmarks.console.data import create_installation

    if (data / "complete").exists():
        return
    began = time.perf_counter()
    create_installation(memories)
    (data / "complete").touch()
    print(f"{memories:,} memories created in {time.perf_counter() - began:.0f} s", flush=True)


def add_to_map(count: int) -> None:
    from benchmarks.console.data import fill
    from memories.models import Memory
    from tenants.models import Tenant

    tenant = Tenant.objects.get(slug="default")
    if not Memory.objects.for_tenant(tenant).filter(namespace=NAMESPACE).exists():
        fill(tenant, NAMESPACE, count)


@contextlib.contextmanager
def serve(data: pathlib.Path, *, index: bool) -> Iterator[Server]:
    from benchmarks.console.data import give_key

    server = Server(data, SOMA_INDEXER="thread" if index else "none")
    give_key(server.key)
    with server:
        if index:
            print(f"indexed after {server.client().wait_until_indexed(3600):.0f} s", flush=True)
        settle(server)
        first = server.client().post("/memories/search", {"query": "warm library garden", "top_k": 100})
        print(f"first search after the start: {first['took_ms']:.0f} ms", flush=True)
        yield server


def measure(browser: Browser, server: Server, options: argparse.Namespace) -> int:
    from benchmarks.console import explorer, tasks
    from benchmarks.console.data import NAME, PASSWORD
    from benchmarks.console.pages import pages, walk

    browser.sign_in(NAME, PASSWORD)
    if options.explorer:
        explorer.measure(browser, "default", NAMESPACE)
        print(f"server memory: {server.rss_mb():.0f} MB")
        return 0
    if options.tasks:
        return tasks.report(browser)
    walk(browser)
    times = {page.name: response_times(browser, page.path) for page in pages()}
    return report(browser.visits, times)


@dataclass
class Times:
    """The server's response times, without the browser."""

    median_ms: float
    p95_ms: float


def response_times(browser: Browser, path: str) -> Times:
    """Measure requests for a page, without its static files, as the signed-in user."""
    import http.client

    host = browser.base.partition("//")[2]
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in browser.driver.get_cookies())
    connection = http.client.HTTPConnection(host, timeout=60)
    times = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Cookie": cookies})
        response = connection.getresponse()
        response.read()
        times.append(1000 * (time.perf_counter() - began))
        assert response.status == 200, (path, response.status)
    connection.close()
    times.sort()
    return Times(times[len(times) // 2], times[int(0.95 * len(times)) - 1])


def take_pictures(base: str, folder: pathlib.Path) -> int:
    """Save pictures of every page at every width in both themes, and report pages that are wider than the window."""
    from benchmarks.console.data import NAME, PASSWORD
    from benchmarks.console.pages import pages

    folder.mkdir(parents=True, exist_ok=True)
    wide = 0
    for width in SIZES:
        with Browser(base, size=(width, 900), phone=width < 500) as browser:
            browser.sign_in(NAME, PASSWORD)
            for page in pages():
                browser.visit(page.name, page.path, page.ready)
                overflow = browser.run(
                    "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
                )
                if overflow > 0:
                    wide += 1
                    print(f"{page.name} at {width} pixels: {overflow} pixels too wide")
                for theme in ("light", "dark"):
                    browser.use_theme(theme)
                    browser.driver.save_screenshot(str(folder / f"{page.name}-{width}-{theme}.png"))
                browser.use_theme("light")
    return min(wide, 1)


def settle(server: Server, for_s: float = 3.0, within_s: float = 600.0) -> None:
    """Wait until the server is idle. After starting, the server compares the index with the database."""
    until = time.monotonic() + within_s
    before = server.cpu_s()
    while time.monotonic() < until:
        time.sleep(for_s)
        now = server.cpu_s()
        if now - before < 0.05 * for_s:
            return
        before = now


def report(visits: list[Visit], times: dict[str, Times]) -> int:
    worst = 0
    for visit in visits:
        line = f"{visit.name:24} painted {visit.painted_s * 1000:5.0f} ms, ready {visit.ready_s * 1000:5.0f} ms"
        if visit.path:
            line += f", scripts {visit.script_bytes / 1000:.0f} kB ({visit.transferred_bytes / 1000:.0f} kB compressed)"
        if visit.name in times:
            line += f", server {times[visit.name].median_ms:.0f} ms, p95 {times[visit.name].p95_ms:.0f} ms"
        print(line, *visit.complaints)
        worst |= bool(visit.complaints) or visit.ready_s >= LIMIT_S
    print(f"slowest first paint: {max(visit.painted_s for visit in visits) * 1000:.0f} ms")
    print(f"slowest server p95: {max(figures.p95_ms for figures in times.values()):.0f} ms")
    print(f"largest script size: {max(visit.script_bytes for visit in visits) / 1000:.0f} kB")
    print(
        "every page took less than a second, without errors"
        if not worst
        else "FAILED: some pages were slow or had errors"
    )
    return worst


if __name__ == "__main__":
    sys.exit(main())
