"""A caller with a sealed audit log."""

from __future__ import annotations

import pytest

from tenants.audit import sealing
from tenants.caller import Caller
from tests.support.audit import record


@pytest.fixture
def chained(caller: Caller) -> Caller:
    """Three sealed blocks of four rows."""
    sealing.seal()
    for block in range(3):
        record(caller, *(f"{block}.{row}" for row in range(4)))
        assert sealing.seal() >= 4
    return caller
