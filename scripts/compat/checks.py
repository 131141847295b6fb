"""Run named checks of a client, and count those that pass.

This module needs only the standard library, because it runs in the client's own environment.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Callable
from typing import Any

URL = os.environ["COMPAT_URL"]
KEY = os.environ["COMPAT_KEY"]
OPERATOR_KEY = os.environ.get("COMPAT_OPERATOR_KEY", "")

Check = Callable[[], Any]


def run(client: str, checks: dict[str, Check], expected: int, known: dict[str, str] | None = None) -> None:
    """Run the checks, print those that failed, and exit with 1 if fewer than `expected` pass.

    known: the names of checks that may fail because of a bug in the client, with the reason.
    """
    passed = 0
    for name, check in checks.items():
        try:
            result = check()
            if inspect.isawaitable(result):
                result = asyncio.run(_wait(result))
            if result is False:
                raise AssertionError("unexpected result")
        except Exception as error:  # noqa: BLE001 - any error of a client is a failed check
            reason = (known or {}).get(name)
            print(f"  {'known' if reason else 'FAILED'}: {name}: {reason or repr(error)[:300]}")
        else:
            passed += 1
    print(f"{client}: {passed} of {len(checks)}")
    sys.exit(0 if passed >= expected else 1)


def wait_for_index() -> None:
    time.sleep(2)


def raises(kind: type[BaseException], call: Check) -> bool:
    """Return whether a call raises an error of exactly this type."""
    try:
        result = call()
        if inspect.isawaitable(result):
            asyncio.run(_wait(result))
    except kind as error:
        if type(error) is kind:
            return True
        raise
    return False


async def _wait(awaitable: Any) -> Any:
    return await awaitable
