"""Run 4 checks of sekha-proxy (from its repository), placed between a language model and the controller."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httpx
from checks import KEY, URL, run, wait_for_index
from sekha_proxy.config import Config, ControllerConfig
from sekha_proxy.proxy import SekhaProxy

logging.disable(logging.CRITICAL)


def bridge(request: httpx.Request) -> httpx.Response:
    """Return the same responses as Sekha's LLM bridge."""
    if request.url.path == "/api/v1/route":
        return httpx.Response(200, json={"model_id": "m", "provider_id": "p", "estimated_cost": 0.0})
    answer = {"role": "assistant", "content": "Noted: the heron nests in the reeds"}
    return httpx.Response(200, json={"choices": [{"message": answer}]})


async def chat(content: Any, **more: Any) -> dict[str, Any]:
    proxy = SekhaProxy(Config(controller=ControllerConfig(url=URL, api_key=KEY)))
    proxy.bridge_client = httpx.AsyncClient(base_url="http://bridge", transport=httpx.MockTransport(bridge))
    response: dict[str, Any] = await proxy.forward_chat({"messages": [{"role": "user", "content": content}], **more})
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others)  # wait until the conversation is stored
    return response


def ask(content: Any, **more: Any) -> dict[str, Any]:
    return asyncio.run(chat(content, **more))


def stored(folder: str) -> int:
    count = httpx.get(
        f"{URL}/api/v1/conversations/count", params={"folder": folder}, headers={"Authorization": f"Bearer {KEY}"}
    ).json()["count"]
    return int(count)


async def health() -> bool:
    proxy = SekhaProxy(Config(controller=ControllerConfig(url=URL, api_key=KEY)))
    checked = await proxy.health_monitor.check_all()
    return bool(checked["checks"]["controller"]["status"] == "ok")


IMAGE = [{"type": "text", "text": "Where does the heron nest?"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]


def stores() -> bool:
    before = stored("/proxy")
    ask("The heron nests in the reeds", folder="/proxy")
    wait_for_index()
    return stored("/proxy") == before + 1


run(
    "sekha-proxy",
    {
        "stores a conversation": stores,
        "recalls it": lambda: ask("Where does the heron nest?", folder="/proxy")["sekha_metadata"]["context_count"] > 0,
        "recalls for parts with an image": lambda: ask(IMAGE, folder="/proxy")["sekha_metadata"]["context_count"] > 0,
        "health": health,
    },
    expected=4,
)
