"""Run 10 checks of sekha-mcp 0.2 (from PyPI), which cover its seven tools with their options."""

from __future__ import annotations

import asyncio
import os
import re

from checks import KEY, URL, run, wait_for_index

os.environ |= {"CONTROLLER_URL": URL, "CONTROLLER_API_KEY": KEY, "LOG_LEVEL": "CRITICAL"}
from sekha_mcp.health import check_controller_health
from sekha_mcp.server import call_tool, list_tools


def tool(name: str, **arguments: object) -> str:
    text: str = asyncio.run(call_tool(name, arguments))[0].text
    if "❌" in text:
        raise ValueError(text)
    return text


stored = tool(
    "memory_store",
    label="Lamu",
    folder="/coast",
    messages=[{"role": "user", "content": "The dhow leaves Lamu at noon"}, {"role": "assistant", "content": "Noted"}],
    importance_score=7,
)
ID = re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", stored)[0]
wait_for_index()

run(
    "sekha-mcp 0.2",
    {
        "list": lambda: len(asyncio.run(list_tools())) == 7,
        "store": lambda: ID in stored,
        "search": lambda: "dhow" in tool("memory_search", query="dhow at noon"),
        "search by label": lambda: "dhow" in tool("memory_search", query="dhow", limit=5, filter_labels=["Lamu"]),
        "context": lambda: "dhow" in tool("memory_get_context", conversation_id=ID),
        "update": lambda: (
            tool("memory_update", conversation_id=ID, label="Lamu 2", folder="/c", importance_score=3) != ""
        ),
        "prune": lambda: tool("memory_prune", threshold_days=1, importance_threshold=0) != "",
        "export": lambda: (
            "dhow" in tool("memory_export", conversation_id=ID)
            and "dhow" in tool("memory_export", conversation_id=ID, format="markdown")
        ),
        "statistics": lambda: "Total Conversations" in tool("memory_stats") and tool("memory_stats", folder="/c") != "",
        "health": lambda: asyncio.run(check_controller_health()).status == "healthy",
    },
    expected=10,
)
