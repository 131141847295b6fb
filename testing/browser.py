"""Headless Chromium for tests and benchmarks of the admin console."""

from __future__ import annotations

import pathlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Chromium's driver, which Debian ships in a separate package.
BROWSER = shutil.which("chromedriver")


@dataclass
class Visit:
    """A page visit, or an action on a page.

    loaded_s: the time until the page had loaded
    ready_s: the time until the page had drawn the data that it fetched
    painted_s: the time until Chromium painted the first content; 0 for an action
    script_bytes: the uncompressed size of all scripts that the page loaded
    transferred_bytes: the compressed size of these scripts
    """

    name: str
    path: str
    loaded_s: float
    ready_s: float
    complaints: list[str]
    status: int = 200
    painted_s: float = 0
    script_bytes: int = 0
    transferred_bytes: int = 0


# Chromium reports the first paint up to a frame after the load event, so `paint` may be missing at first. On a busy
# machine, Chromium may report no resources, so the script sizes are taken from its cache.
_FIGURES = """
const [page] = performance.getEntriesByType('navigation');
const paint = performance.getEntriesByName('first-contentful-paint')[0];
const scripts = [...document.scripts].map((script) => script.src).filter((source) => source);
const size = async (source) => (await (await fetch(source, {cache: 'force-cache'})).arrayBuffer()).byteLength;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const transferred = performance.getEntriesByType('resource')
    .filter((entry) => scripts.includes(entry.name)).map((entry) => entry.encodedBodySize);
return Promise.all(scripts.map(size)).then((sizes) => ({status: page.responseStatus,
    painted: paint ? paint.startTime : null, script: sum(sizes), transferred: sum(transferred)}));
"""


class Browser:
    """Headless Chromium, not signed in. Use it as a context manager."""

    def __init__(
        self,
        base: str,
        pictures: pathlib.Path | None = None,
        options: Sequence[str] = (),
        size: tuple[int, int] = (1440, 1080),
        *,
        phone: bool = False,
    ) -> None:
        self.base, self.pictures, self.options, self.size, self.phone = base, pictures, options, size, phone
        self.visits: list[Visit] = []

    def __enter__(self) -> Browser:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        options = ChromeOptions()
        for option in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            f"--window-size={self.size[0]},{self.size[1]}",
            "--hide-scrollbars",
            "--disable-gpu",
            "--force-device-scale-factor=1",
            "--disable-background-networking",
            *self.options,
        ):
            options.add_argument(option)
        if self.phone:  # emulated, because a window cannot be narrower than 500 pixels
            screen = {"width": self.size[0], "height": self.size[1], "pixelRatio": 1}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": screen})
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

    def visit(self, name: str, path: str, ready: str = "", timeout_s: float = 20) -> Visit:
        """Visit a page. `ready` is a JavaScript expression that becomes true when the page has drawn everything."""
        began = time.perf_counter()
        self.driver.get(self.base + path)
        loaded_s = time.perf_counter() - began
        if ready:
            self.until(lambda: self.run(f"return {ready}"), timeout_s)
        ready_s = time.perf_counter() - began
        figures = self._figures()
        visit = Visit(
            name,
            path,
            loaded_s,
            ready_s,
            self.complaints(),
            figures["status"],
            (figures["painted"] or 0) / 1000,
            figures["script"],
            figures["transferred"],
        )
        self.visits.append(visit)
        self.picture(name)
        return visit

    def _figures(self) -> dict[str, Any]:
        end = time.monotonic() + 2
        while True:
            figures = self.run(_FIGURES)
            if figures["painted"] is not None or time.monotonic() > end:
                return dict(figures)
            time.sleep(0.005)

    def act(self, name: str, do: Callable[[], object], ready: str) -> Visit:
        """Perform an action on the current page, and measure how long it takes until `ready` (JavaScript) is true."""
        began = time.perf_counter()
        do()
        self.until(lambda: self.run(f"return {ready}"))
        visit = Visit(name, "", 0, time.perf_counter() - began, self.complaints())
        self.visits.append(visit)
        self.picture(name)
        return visit

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def click(self, css: str) -> None:
        self.driver.find_element("css selector", css).click()

    def press(self, *keys: str) -> None:
        """Send keys to the focused element."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def until(self, holds: Callable[[], object], timeout_s: float = 20) -> None:
        end = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.driver.current_url}: {self.complaints()}")
            time.sleep(0.01)

    def complaints(self) -> list[str]:
        """Return the errors and warnings that the browser has logged, such as script errors and failed resources."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def use_theme(self, theme: str) -> None:
        """Switch to the theme "light" or "dark", and skip to the end of the transition."""
        self.run("Alpine.evaluate(document.documentElement, `switchTheme('${arguments[0]}')`)", theme)
        is_dark = "return document.documentElement.classList.contains('dark')"
        self.until(lambda: self.run(is_dark) == (theme == "dark"))
        self.run("document.getAnimations().forEach((animation) => animation.finish())")

    def picture(self, name: str) -> None:
        if self.pictures:
            self.driver.save_screenshot(str(self.pictures / f"{name}.png"))
