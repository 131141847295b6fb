"""Check a page with axe-core, which is installed from npm into tests/console/axe."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

from testing.browser import Browser

FOLDER = Path(__file__).parent / "axe"
SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
NPM = shutil.which("npm")

# Check only the first rows of a long list: the others are alike, and axe-core is slow.
_REST = [
    "tbody > tr:nth-child(n+4)",
    "table > tbody:nth-of-type(n+4)",
    "ol > li:nth-child(n+4)",
    "nav li:nth-child(n+12)",
    ".chat-turn:nth-child(n+8)",
    "select > option:nth-child(n+4)",
]
_RUN = """
const [place, rest, rules, done] = arguments;
const exclude = rest.filter((css) => document.querySelector(place + ' ' + css));
const options = {resultTypes: ['violations'], preload: false, iframes: false, ...(rules.length && {runOnly: rules})};
const reason = (node) => (node.any[0] ?? node.all[0] ?? node.none[0])?.message;
const shown = (node) => `${node.html.slice(0, 160)} (${reason(node)})`;
axe.run({include: [place], exclude}, options).then(({violations}) => done(violations.map(
    (violation) => `${violation.id}: ${violation.nodes.slice(0, 4).map(shown).join('; ')}`)));
"""


@functools.cache
def axe() -> str:
    """Return the script. Install it first if the lock file is newer."""
    lock = FOLDER / "package-lock.json"
    if not SCRIPT.exists() or SCRIPT.stat().st_mtime < lock.stat().st_mtime:
        command = ["npm", "ci", "--ignore-scripts", "--no-progress", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        SCRIPT.touch()
    return SCRIPT.read_text()


def violations(browser: Browser, place: str = "html", rules: tuple[str, ...] = ()) -> list[str]:
    """Return the rules that a part of the page violates, with the elements. An empty `rules` means all rules."""
    if not browser.run("return !!window.axe"):
        browser.run(axe())
    results: list[str] = browser.driver.execute_async_script(_RUN, place, _REST, list(rules))
    return results


def in_dark(browser: Browser, place: str = "html") -> list[str]:
    """Return violations in the dark theme, which differs only in its colours."""
    browser.use_theme("dark")
    results = violations(browser, place, ("color-contrast", "link-in-text-block"))
    browser.use_theme("light")
    return [f"dark: {violation}" for violation in results]
