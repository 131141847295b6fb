"""Time five typical user tasks: the clicks, the typed words, and the seconds that the pages take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testing.browser import Browser

# The time that an experienced user needs to point and click, to type a word, and to read a page before the next step,
# according to Card, Moran and Newell: The Keystroke-Level Model (1980), plus one second for reading.
CLICK_S, WORD_S, READ_S = 1.3, 1.4, 2.35
QUESTION = "night train invoice"


@dataclass
class SimulatedUser:
    """A simulated user, who starts on the dashboard."""

    browser: Browser
    clicks: int = 0
    words: int = 0
    pages: int = 0
    waited_s: float = field(default=0)

    def click(self, text: str, css: str = "a, button, summary") -> None:
        """Click the visible control that contains a text, retrying until it is visible."""
        self.clicks += 1
        self._wait_for(lambda: self.browser.run(_CLICK, css, text), text)

    def type(self, css: str, text: str) -> None:
        self.words += len(text.split())
        self.clicks += 1
        self.browser.driver.find_element("css selector", css).send_keys(text)

    def choose(self, css: str, value: str) -> None:
        self.clicks += 2
        self.browser.run("const [css, value] = arguments; document.querySelector(css).value = value", css, value)

    def ask(self, css: str, button: str) -> None:
        """Type QUESTION into a field, and submit the form."""
        self.type(css, QUESTION)
        self.click(button, "form button")

    def read(self, text: str) -> None:
        """Wait for a text that answers the question or offers the next step, and read the page."""
        self.pages += 1
        self._wait_for(lambda: self.browser.run("return document.body.innerText.includes(arguments[0])", text), text)

    def _wait_for(self, holds: Callable[[], object], text: str) -> None:
        began = time.perf_counter()
        try:
            self.browser.until(holds, timeout_s=60)
        except TimeoutError:
            raise TimeoutError(f"{self.browser.driver.current_url} does not show {text!r}") from None
        self.waited_s += time.perf_counter() - began

    @property
    def seconds(self) -> float:
        return self.waited_s + self.clicks * CLICK_S + self.words * WORD_S + self.pages * READ_S


_CLICK = """
const [css, text] = arguments;
const found = [...document.querySelectorAll(css)].find(
    (element) => element.checkVisibility() && element.textContent.includes(text) && !element.dataset.clicked);
if (!found) return false;
found.dataset.clicked = true;
found.click();
return true;
"""


def find_why(user: SimulatedUser) -> None:
    """Find out why a memory was returned."""
    user.click("Playground")
    user.read("Query")
    user.ask("[name=query]", "Search")
    user.read("\N{MULTIPLICATION SIGN} 0.")  # the weight of a score


def find_who(user: SimulatedUser) -> None:
    """Find out who changed a memory."""
    user.click("Memories")
    user.read("Coordinate")
    user.ask("[name=q]", "Search")
    user.read("semantic")
    user.click("", ".console-table a")
    user.read("by command")


def create_key(user: SimulatedUser) -> None:
    """Create a key for a user."""
    user.click("API keys")
    user.read("New key")
    user.click("New key")
    user.read("shown only once")
    user.choose("#dialog [name=tenant]", "default")
    user.type("#dialog [name=user_id]", "ada")
    user.click("Create the key")
    user.read("Copy the key now")


def see_prompt(user: SimulatedUser) -> None:
    """See what goes into a prompt."""
    user.click("Playground")
    user.read("Context for a prompt")
    user.click("Context for a prompt")
    user.read("The user's next message")
    user.ask("[name=query]", "Assemble")
    user.read("In the context")


def restore_conversation(user: SimulatedUser) -> None:
    """Restore a deleted conversation."""
    user.click("Conversations")
    user.read("Deleted")
    user.click("Deleted")
    user.read("A talk to restore")
    user.click("Restore", "form button")
    user.read("restored")


TASKS: dict[str, Callable[[SimulatedUser], None]] = {
    "find out why a memory was returned": find_why,
    "find out who changed a memory": find_who,
    "create a key for a user": create_key,
    "see what goes into a prompt": see_prompt,
    "restore a deleted conversation": restore_conversation,
}


def report(browser: Browser) -> int:
    """Perform each task once, and print how many clicks and seconds it takes."""
    for name, do in TASKS.items():
        browser.visit("dashboard", "/admin/")
        user = SimulatedUser(browser)
        do(user)
        print(
            f"{name:32} {user.clicks} clicks, {user.words} words, {user.pages} pages, "
            f"{user.waited_s:.1f} s of waiting, about {user.seconds:.0f} s in total"
        )
    return 0
