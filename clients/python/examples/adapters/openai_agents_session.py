"""A session of OpenAI Agents. The items are scripted; `Runner.run(agent, question, session=session)` adds them."""

import asyncio
from uuid import uuid4

from somamemory_client import AsyncClient
from somamemory_client.adapters.openai_agents import SomaSession


async def main() -> list[object]:
    async with AsyncClient() as client:
        session = SomaSession(str(uuid4()), client)
        await session.add_items([{"role": "user", "content": "What should I cook on Sunday?"}])
        await session.add_items([{"role": "assistant", "content": "Rice."}])
        await session.pop_item()  # the user wants another answer
        await session.add_items([{"role": "assistant", "content": "Pasta."}])
        return [item.get("content") for item in await session.get_items()]


if __name__ == "__main__":
    print(asyncio.run(main()))
