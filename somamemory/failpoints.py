"""Failpoints: named places in the code where a test injects an error, a delay or a crash.

They do nothing unless SOMA_TEST_FAILPOINTS is set when the process starts, for example to
`drain.embedded=kill,backup.dumped=error`. Each action happens once per process, the first time its failpoint is
reached.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Literal, get_args

from somamemory.errors import Unavailable

log = logging.getLogger("soma.failpoints")

Name = Literal[
    # calls to other services and to cold storage
    "call.cold_storage", "call.embedder", "call.language_model", "call.vector_index", "call.redis",
    # the drain
    "drain.leased", "drain.read", "drain.embedded", "drain.confirmed", "drain.written", "drain.settled",
    # a rebuild of the embeddings
    "rebuild.checked", "rebuild.begun", "rebuild.filled", "rebuild.embedded", "rebuild.compared", "rebuild.switched",
    "rebuild.published", "rebuild.swept", "rebuild.rows_deleted", "rebuild.dropped",
    # storage tiers of conversations
    "tiers.packed", "tiers.recorded", "tiers.written", "tiers.replacing", "tiers.frozen", "tiers.read",
    "tiers.restoring", "tiers.thawed", "tiers.removed",
    # a backup
    "backup.dumped", "backup.copied", "backup.described", "backup.synced", "backup.renamed",
    # the erasure of a tenant
    "erase.begun", "erase.table", "erase.elsewhere", "erase.removed", "erase.recorded",
]  # fmt: skip
Action = Literal["error", "delay", "kill"]
NAMES: tuple[Name, ...] = get_args(Name)
DELAY_S = 0.2


class InjectedError(Unavailable, OSError):
    """The error that a failpoint raises.

    It is both one of our own errors and a system error, so every outage handler catches it.
    """


class Plan:
    """The actions for one process, each of which happens once."""

    def __init__(self, actions: dict[str, str]) -> None:
        if unknown := sorted(set(actions) - set(NAMES)):
            raise ValueError(f"unknown failpoints: {', '.join(unknown)}")
        if unknown := sorted(set(actions.values()) - set(get_args(Action))):
            raise ValueError(f"unknown failpoint actions: {', '.join(unknown)}")
        self.reached: list[Name] = []
        self._actions = actions

    def reach(self, name: Name) -> None:
        action = self._actions.pop(name, None)
        if action is None:
            return
        self.reached.append(name)
        log.warning("failpoint reached", extra={"failpoint": name, "action": action})
        if action == "delay":
            time.sleep(DELAY_S)
        elif action == "error":
            raise InjectedError(f"injected at failpoint {name}")
        else:
            os.kill(os.getpid(), signal.SIGKILL)


def parse(text: str) -> dict[str, str]:
    """Return the action of each failpoint in `name=action,name=action`."""
    return dict(item.split("=", 1) for item in text.split(",") if item)


def _nothing(name: Name) -> None:
    pass


_actions = parse(os.environ.get("SOMA_TEST_FAILPOINTS", ""))
reach: Callable[[Name], None] = Plan(_actions).reach if _actions else _nothing
