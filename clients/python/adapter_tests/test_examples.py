"""The adapter examples run, with scripted responses instead of models."""

from __future__ import annotations

import subprocess
import sys

import pytest

from testing.server import ROOT, Server

EXAMPLES = {
    "langgraph_store": "knowing ['I am a vegetarian now.']",
    "anthropic_memory": "2\tShe cooks on Sundays.",
    "langchain_memory": "knowing ['I am a vegetarian now.']",
    "google_adk_services": "['I am a vegetarian now.']",
    "haystack_documents": "['Pasta with tomatoes, ready in 20 minutes']",
    "llama_index_memory": "recalled the cat",
    "pydantic_ai_conversation": "4 messages",
    "openai_agents_session": "['What should I cook on Sunday?', 'Pasta.']",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, running: Server) -> None:
    path = ROOT / "clients" / "python" / "examples" / "adapters" / f"{name}.py"
    address = {"SOMA_URL": f"http://127.0.0.1:{running.port}", "SOMA_API_KEY": running.key}
    paths = {"PYTHONPATH": str(ROOT / "clients" / "python" / "src")}
    done = subprocess.run(
        [sys.executable, str(path)], env=address | paths, capture_output=True, text=True, timeout=120, check=True
    )
    assert EXAMPLES[name] in done.stdout
