"""The Milvus engine without a server."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import numpy as np
import pytest

from memories.index.base import Where
from memories.index.milvus.client import Connection
from memories.index.milvus.index import MilvusIndex
from somamemory.errors import ConfigurationError, IndexUnavailable
from testing import ROOT

TENANT = UUID(int=1)
QUERY = np.ones(8, np.float32)


def search(index: MilvusIndex) -> object:
    return index.search(TENANT, QUERY, Where(("default",)), 10)


def test_a_server_that_is_not_there_is_unavailable_within_the_deadline() -> None:
    index = MilvusIndex(Connection("http://127.0.0.1:9", timeout_s=1.0), "test", 8)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(search, index) for _ in range(8)]
    assert {type(call.exception()) for call in calls} == {IndexUnavailable}


@pytest.mark.parametrize("address", ["redis://127.0.0.1", "/data/milvus.db"])
def test_an_address_of_no_known_kind_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError):
        MilvusIndex(Connection(address), "test", 8)


def test_a_server_without_its_packages_is_refused_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ConfigurationError, match=r"requirements/milvus\.txt"):
        search(MilvusIndex(Connection("http://127.0.0.1:9"), "test", 8))


def test_making_an_index_does_not_import_the_vendor() -> None:
    code = "import sys, django; django.setup(); import memories.index.milvus.index as m; " + (
        "m.MilvusIndex(m.Connection('http://127.0.0.1:9'), 'c', 8).close(); assert 'pymilvus' not in sys.modules"
    )
    environment = {"DJANGO_SETTINGS_MODULE": "somamemory.settings", **os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
