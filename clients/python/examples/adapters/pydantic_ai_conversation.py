"""A Pydantic AI agent whose conversation any process can continue. `TestModel` takes the place of a language model."""

import asyncio
from uuid import uuid4

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.models.test import TestModel

from somamemory_client import AsyncClient
from somamemory_client.adapters.pydantic_ai import SomaConversationStore


async def main() -> int:
    agent, name = Agent(TestModel()), str(uuid4())
    async with AsyncClient() as client:
        for question in ("I am a vegetarian now.", "What should I cook on Sunday?"):
            store = SomaConversationStore(client)
            conversation = await store.load(name, scope="ada") or Conversation(conversation_id=name)
            await store.save(await agent.run(question, conversation=conversation), scope="ada")
        continued = await store.load(name)
        return len(continued.messages) if continued else 0


if __name__ == "__main__":
    print(asyncio.run(main()), "messages")
