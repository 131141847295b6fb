"""The agent from agent.py with asyncio. It searches memories and assembles a context at the same time."""

import asyncio

from somamemory_client import AsyncClient


async def answer(client: AsyncClient, question: str) -> str:
    hits, context = await asyncio.gather(client.memories.search(question, top_k=3), client.context.assemble(question))
    known = [hit["payload"]["text"] for hit in hits] + [message["content"] for message in context]
    return f"(Your language model answers {question!r} here, knowing {known}.)"


async def main() -> None:
    async with AsyncClient() as client:
        ada = client.user("ada")
        await ada.memories.store("Ada drinks coffee", key="ada/coffee")
        print(await answer(ada, "What does Ada drink?"))
        async for memory in ada.memories.list(key_prefix="ada"):
            print(memory["key"], memory["version"])


if __name__ == "__main__":
    asyncio.run(main())
