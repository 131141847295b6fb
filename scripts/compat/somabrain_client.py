"""Run 14 checks of SomaBrain's MemoryClient, which is taken from SomaBrain's repository."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

from checks import KEY, run, wait_for_index
from django.conf import settings

SERVER = os.environ["COMPAT_SERVER"]
settings.configure(
    SOMABRAIN_MEMORY_HTTP_ENDPOINT=SERVER,
    SOMABRAIN_MEMORY_HTTP_TOKEN=KEY,
    SOMABRAIN_LOG_LEVEL="ERROR",
)
for name, value in {"memory_http_endpoint": SERVER, "memory_http_token": KEY, "namespace": "default"}.items():
    setattr(settings, name, value)
logging.disable(logging.CRITICAL)
from somabrain.memory.client import MemoryClient  # noqa: E402 - reads the settings when it is imported


def client() -> Any:
    return MemoryClient(cfg=settings, namespace="default", tenant="default")


def payload(text: str) -> dict[str, Any]:
    return {"task": text, "content": text, "importance": 1, "timestamp": time.time(), "tenant": "default"}


one = client()
run(
    "SomaBrain",
    {
        "remember": lambda: len(one.remember("ibex", payload("The ibex climbs"))) == 3,
        "remember_bulk": lambda: len(one.remember_bulk([("a", payload("ibex a")), ("b", payload("ibex b"))])) == 2,
        "aremember": lambda: len(asyncio.run(client().aremember("c", payload("ibex c")))) == 3,
        "aremember_bulk": lambda: len(asyncio.run(client().aremember_bulk([("d", payload("ibex d"))]))) == 1,
        "store_from_payload": lambda: one.store_from_payload({**payload("ibex e"), "coordinate": [1.0, 2.0, 3.0]}),
        "health": lambda: bool(one.health()) and wait_for_index() is None,
        "recall": lambda: len(one.recall("ibex")) > 0,
        "recall_with_scores": lambda: len(one.recall_with_scores("ibex")) > 0,
        "arecall": lambda: len(asyncio.run(client().arecall("ibex"))) > 0,
        "arecall_with_scores": lambda: len(asyncio.run(client().arecall_with_scores("ibex"))) > 0,
        "payloads_for_coords": lambda: len(one.payloads_for_coords([one.coord_for_key("ibex")])) > 0,
        "create_link": lambda: one.create_link(one.coord_for_key("ibex"), one.coord_for_key("a"), "next"),
        "get_neighbors": lambda: len(one.get_neighbors(one.coord_for_key("ibex"))) > 0,
        "find_path": lambda: len(one.find_path(one.coord_for_key("ibex"), one.coord_for_key("a"))) > 0,
    },
    expected=10,
    known={
        "payloads_for_coords": "calls POST /payloads, which SomaFractalMemory does not have",
        **dict.fromkeys(("create_link", "get_neighbors", "find_path"), "fails before it sends a request"),
    },
)
