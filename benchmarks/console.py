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
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from testing.server import Server

NAME, PASSWORD = "operator", "a walk through the pages"
BATCH = 500
LIMIT_S = 1.0
# Chromium and its driver, which Debian packages separately.
BROWSER = shutil.which("chromedriver")
KINDS = ("episodic", "semantic")
SUBJECTS = [
    "billing",
    "the garden",
    "a journey to Lisbon",
    "the release",
    "music",
    "the kitchen",
    "a proof",
    "training",
]
# fmt: off
WORDS = [
    "remembers", "promised", "asked", "moved", "cancelled", "found", "wrote", "compared", "repaired", "planned",
    "measured", "invoice", "olive", "trees", "night", "train", "deployment", "concerto", "oven", "lemma", "marathon",
    "budget", "soil", "ticket", "rollback", "score", "bread", "theorem", "pace",
]
# fmt: on


@dataclass
class Visit:
    """A page visit: seconds until the page had loaded, and until it had drawn the data that it fetched."""

    name: str
    loaded_s: float
    ready_s: float
    complaints: list[str]


class Browser:
    """Headless Chromium, not signed in. Use it as a context manager."""

    def __init__(self, base: str, pictures: pathlib.Path | None = None, options: Sequence[str] = ()) -> None:
        self.base, self.pictures, self.options = base, pictures, options
        self.visits: list[Visit] = []

    def __enter__(self) -> Browser:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        for option in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--window-size=1440,1080",
            "--hide-scrollbars",
            "--disable-gpu",
            "--force-device-scale-factor=1",
            "--disable-background-networking",
            *self.options,
        ):
            options.add_argument(option)  # fmt: skip
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver: Any = Chrome(options=options, service=Service(BROWSER))
        return self

    def __exit__(self, *error: object) -> None:
        self.driver.quit()

    def sign_in(self, name: str, password: str) -> None:
        self.visit("sign-in", "/admin/login/")
        self.driver.find_element("name", "username").send_keys(name)
        self.driver.find_element("name", "password").send_keys(password)
        self.driver.find_element("css selector", "#login-form button").click()
        self.until(lambda: "/login" not in self.driver.current_url)
        self.complaints()

    def visit(self, name: str, path: str, ready: str = "") -> Visit:
        """Visit a page. `ready` is a JavaScript expression that becomes true when the page has drawn everything."""
        began = time.perf_counter()
        self.driver.get(self.base + path)
        loaded_s = time.perf_counter() - began
        if ready:
            self.until(lambda: self.run(f"return {ready}"))
        visit = Visit(name, loaded_s, time.perf_counter() - began, self.complaints())
        self.visits.append(visit)
        self.picture(name)
        return visit

    def act(self, name: str, do: Callable[[], object], ready: str) -> Visit:
        """Measure an action on the current page."""
        began = time.perf_counter()
        do()
        self.until(lambda: self.run(f"return {ready}"))
        visit = Visit(name, 0, time.perf_counter() - began, self.complaints())
        self.visits.append(visit)
        self.picture(name)
        return visit

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def click(self, css: str) -> None:
        self.driver.find_element("css selector", css).click()

    def until(self, holds: Callable[[], object], timeout_s: float = 20) -> None:
        end = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.driver.current_url}: {self.complaints()}")
            time.sleep(0.01)

    def complaints(self) -> list[str]:
        """Return errors from scripts, the content security policy, and resources that failed to load."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self, name: str) -> None:
        if self.pictures:
            self.driver.save_screenshot(str(self.pictures / f"{name}.png"))


READY = "document.getElementById('explorer').dataset.ready === 'true'"


def walk(browser: Browser, tenant: str = "default") -> None:
    """Visit every page, in the order an operator would."""
    browser.visit("dashboard", "/admin/")
    browser.visit("memories", f"/admin/memories/memory/?tenant={tenant}")
    first = browser.run("return document.querySelector('.console-table a').href")
    browser.visit(
        "memories-next", path_of(browser.run("return document.querySelector('a[rel=next]')?.href || location.href"))
    )
    browser.visit("memories-found", f"/admin/memories/memory/?tenant={tenant}&q=night+train+invoice")
    browser.visit("memories-below", f"/admin/memories/memory/?tenant={tenant}&q=1")
    browser.visit("memory", path_of(first))
    browser.visit("links", f"/admin/graph/link/?tenant={tenant}")
    linked = browser.run('return document.querySelector(\'a[href*="/graph/link/"][href*="/change/"]\').textContent')
    network = "!!document.querySelector('.explorer-network circle')"
    browser.visit("conversations", f"/admin/conversations/conversation/?tenant={tenant}")
    browser.visit("conversation", path_of(_first(browser, "/admin/conversations/conversation/", "conversation")))
    browser.visit("playground", f"/admin/playground/?tenant={tenant}&query=night+train+invoice")
    browser.visit("playground-context", f"/admin/playground/context/?tenant={tenant}&query=night+train+invoice")
    browser.visit("explorer-network", f"/admin/explorer/?tenant={tenant}&at={linked.strip()}", network)
    for name, path in {
        "tenants": "tenants/tenant", "keys": "tenants/apikey", "audit": "tenants/auditevent",
        "failed": "memories/vectorembedding", "jobs": "memories/job", "generations": "memories/embeddinggeneration",
        "users": "auth/user", "groups": "auth/group",
    }.items():  # fmt: skip
        browser.visit(name, f"/admin/{path}/")
    browser.visit("user", path_of(browser.run("return '/admin/auth/user/1/change/'")))
    browser.visit("tenant", path_of(_first(browser, "/admin/tenants/tenant/", "tenants/tenant")))
    _explore(browser, tenant)


def _explore(browser: Browser, tenant: str) -> None:
    browser.visit("explorer", f"/admin/explorer/?tenant={tenant}", READY)
    hits = "!!document.getElementById('side').dataset.hits"
    browser.act("explorer-search", lambda: _search(browser, "night train invoice"), hits)
    for step in range(12):
        if browser.run("return document.querySelector('#status').textContent.includes('cells') === false"):
            break
        browser.act(f"explorer-closer-{step + 1}", lambda: _closer(browser), READY)
    browser.picture("explorer-near")
    if browser.run("return !!document.querySelector('.explorer-hits button')"):
        shown = f"!!document.getElementById('side').dataset.memory && {READY}"
        browser.act("explorer-memory", lambda: browser.click(".explorer-hits button"), shown)
    browser.act("explorer-places", lambda: _choose(browser, "view", "places"), READY)


def _closer(browser: Browser) -> None:
    """Zoom in twice on the densest cell, with the page's own keys and buttons."""
    browser.run("document.getElementById('explorer').dataset.ready = 'false'")
    browser.click("#closer")


def _search(browser: Browser, words: str) -> None:
    field = browser.driver.find_element("css selector", "#search input")
    field.clear()
    field.send_keys(words)
    browser.click("#search button")


def _choose(browser: Browser, id: str, value: str) -> None:
    browser.run(
        f"const s = document.getElementById('{id}'); document.getElementById('explorer').dataset.ready = 'false';"
        f"s.value = '{value}'; s.dispatchEvent(new Event('change', {{bubbles: true}}))"
    )


def _first(browser: Browser, path: str, kind: str) -> str:
    browser.driver.get(browser.base + path)
    link: str = browser.run(f'return document.querySelector(\'a[href*="/{kind}/"][href$="/change/"]\').href')
    return link


def path_of(url: str) -> str:
    return url.partition("/admin")[1] + url.partition("/admin")[2]


# --- A generated installation ------------------------------------------------------------------------------------


def places(chance: random.Random, count: int) -> Iterator[tuple[list[float], str, float]]:
    """Yield coordinates with clusters by subject on two axes and a serial number on the third, text, and importance."""
    centres = [(chance.uniform(-80, 80), chance.uniform(-50, 50), chance.uniform(1, 9)) for _ in range(24)]
    for number in range(count):
        at = chance.randrange(len(centres))
        x, y, wide = centres[at]
        words = " ".join(chance.choices(WORDS, k=chance.randint(6, 20)))
        importance = max(0.0, min(10.0, chance.gauss(at % 8, 1.5)))
        yield [
            round(chance.gauss(x, wide), 2), round(chance.gauss(y, wide), 2), float(number)
        ], f"About {SUBJECTS[at % 8]}: {words}", round(importance, 1)  # fmt: skip


def furnish(count: int, others: int = 6) -> None:
    """Create memories for the default tenant and a few other tenants, and a superuser. Requires Django to be set up."""
    from django.contrib.auth.models import User
    from django.core.management import call_command

    import conversations.services
    import graph.services
    from conversations.messages import NewMessage
    from conversations.services import NewConversation
    from graph.services import NewLink
    from memories import coordinates, services
    from memories.new_memory import NewMemory
    from tenants import keys
    from tenants.caller import Caller
    from tenants.models import Tenant
    from tenants.services import create_tenant

    call_command("migrate", verbosity=0)
    default = Caller.command(Tenant.objects.get(slug="default"))
    if not User.objects.filter(username=NAME).exists():
        User.objects.create_superuser(NAME, password=PASSWORD)
    tenants = [default]
    for number in range(others):
        tenants.append(default.acting_for(create_tenant(default, f"tenant-{number + 1}", f"Tenant {number + 1}")))
        keys.issue(default, tenants[-1].tenant, name="its first key")
    for number, caller in enumerate(tenants):
        many = count if not number else max(10, count // (20 * number * number))
        items = [
            NewMemory(coordinates.of(place), {"text": text}, importance=importance, memory_type=KINDS[at % 5 == 0])
            for at, (place, text, importance) in enumerate(places(random.Random(number), many))
        ]  # fmt: skip
        for start in range(0, many, BATCH):
            services.store_many(caller, items[start : start + BATCH])
        chance = random.Random(number)
        for talk in range(many // 500):
            said = [" ".join(chance.choices(WORDS, k=12)) for _ in range(20)]
            messages = [NewMessage(("user", "assistant")[at % 2], content) for at, content in enumerate(said)]
            label, folder = f"Talk {talk + 1}", SUBJECTS[talk % 8].split()[-1]
            conversations.services.create(caller, NewConversation(label=label, folder=folder, messages=messages))
        addresses = [item.coordinate for item in items if item.coordinate]
        links = [
            NewLink(addresses[at], addresses[at + step], kind, round(1 / step, 2))
            for at in range(0, min(many, 4000) - 60, 4)
            for step, kind in ((4, "follows"), (8, "explains"), (24, "related"))
        ]
        for start in range(0, len(links), BATCH):
            graph.services.link_many(caller, links[start : start + BATCH])
        services.delete_many(caller, "default", addresses[many - many // 50 :])


def give_key(secret: str) -> None:
    """Create an operator key with this secret, because bootstrap creates a key only once."""
    from tenants import keys
    from tenants.caller import SCOPES, Caller
    from tenants.models import Tenant

    keys.issue(Caller.command(Tenant.objects.get(slug="default")), None, name="walk", scopes=SCOPES, secret=secret)


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
