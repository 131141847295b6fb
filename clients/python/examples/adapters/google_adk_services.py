"""Google ADK's sessions and memories. The events are scripted; a `Runner` with both services adds an agent's events."""

import asyncio

from google.adk.events import Event
from google.genai.types import Content, Part

from somamemory_client import AsyncClient
from somamemory_client.adapters.google_adk import SomaMemoryService, SomaSessionService


async def main() -> list[str | None]:
    async with AsyncClient() as client:
        sessions, memory = SomaSessionService(client), SomaMemoryService(client)
        session = await sessions.create_session(app_name="kitchen", user_id="ada", state={"user:language": "en"})
        said = Content(role="user", parts=[Part(text="I am a vegetarian now.")])
        await sessions.append_event(session, Event(author="user", content=said))
        await memory.add_session_to_memory(session)
        found = await memory.search_memory(
            app_name="kitchen", user_id="ada", query="What should I cook? I am a vegetarian"
        )
        return [part.text for entry in found.memories for part in entry.content.parts or ()]


if __name__ == "__main__":
    print(asyncio.run(main()))
