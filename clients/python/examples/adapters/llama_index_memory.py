"""LlamaIndex's memory. Messages that leave the short-term memory are stored, and recalled when they help."""

import asyncio
from uuid import uuid4

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import Memory

from somamemory_client import AsyncClient
from somamemory_client.adapters.llama_index import SomaMemoryBlock


async def main() -> str:
    async with AsyncClient() as client:
        block = SomaMemoryBlock(client=client.user("ada"), context_budget=200)
        memory = Memory.from_defaults(
            session_id=str(uuid4()), token_limit=1000, chat_history_token_ratio=0.1, memory_blocks=[block]
        )
        await memory.aput(ChatMessage(role="user", content="My cat is called Miezi."))
        for number in range(20):
            await memory.aput(ChatMessage(role="user", content=f"Question number {number} is about the weather."))
            await memory.aput(ChatMessage(role="assistant", content=f"Answer number {number} says that it rains."))
        await memory.aput(ChatMessage(role="user", content="What is the name of my cat?"))
        recalled = str([message.content for message in await memory.aget()])
        return "recalled the cat" if "Miezi" in recalled else "did not recall the cat"


if __name__ == "__main__":
    print(asyncio.run(main()))
