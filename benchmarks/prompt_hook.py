"""Measure the time that the Claude Code plugin adds to a prompt: `python -m benchmarks.prompt_hook`.

It starts an embedded server, stores 10,000 messages from earlier sessions, and runs the hook for 100 prompts, one
after another, with the command in hooks.json, as Claude Code does. It prints percentiles of the total time, of the
time for the request alone, and of the time for an empty Python process, and fails if the 95th percentile exceeds 150
ms. The hook runs with the interpreter of this checkout. A `python3` shim from a version manager such as pyenv takes
additional time.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.embedded import progress, texts
from testing.server import ROOT, Client, Server

PLUGIN = ROOT / "clients" / "claude-code"
PER_SESSION = 200
LIMIT_MS = 150
WARM_UP = 5


def environment(url: str, key: str) -> dict[str, str]:
    """Return the environment variables that a hook has in Claude Code."""
    interpreter = pathlib.Path(sys.executable).resolve().parent
    path = os.pathsep.join([str(interpreter), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "CLAUDE_PLUGIN_ROOT": str(PLUGIN), "SOMA_URL": url, "SOMA_API_KEY": key}


def load(client: Client, memories: int, source: Any) -> None:
    for first in range(0, memories, PER_SESSION):
        number = first // PER_SESSION
        roles = ("user", "assistant")
        messages = [{"role": roles[n % 2], "content": next(source)} for n in range(min(PER_SESSION, memories - first))]
        body = {"label": f"project {number % 20}", "folder": f"/claude-code/project {number % 20}"}
        client.post("/api/v1/conversations", {**body, "session_id": f"session {number}", "messages": messages})
        progress("loading", (first + len(messages)) / memories)
    client.wait_until_indexed(1800)


def hook(command: str, variables: dict[str, str], prompt: str) -> bool:
    """Run the hook for a prompt. Return whether it recalled anything."""
    event = {"hook_event_name": "UserPromptSubmit", "session_id": "new", "cwd": "/tmp", "prompt": prompt}
    done = subprocess.run(
        ["/bin/sh", "-c", command], input=json.dumps(event).encode(), env=variables, capture_output=True, check=True
    )
    if done.stderr:
        raise RuntimeError(done.stderr.decode())
    return bool(done.stdout)


def measure(action: Callable[[str], object], prompts: list[str]) -> list[float]:
    """Return the time that each prompt takes, in milliseconds."""
    times = []
    for prompt in prompts:
        began = time.perf_counter()
        action(prompt)
        times.append((time.perf_counter() - began) * 1000)
    return times[WARM_UP:]


def percentiles(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def run(server: Server, memories: int, count: int) -> float:
    """Print the figures, and return the 95th percentile of the total time."""
    client, source = server.client(timeout_s=300), texts(seed=1)
    load(client, memories, source)
    command = json.loads((PLUGIN / "hooks" / "hooks.json").read_text())["hooks"]["UserPromptSubmit"][0]["hooks"][0]
    variables = environment(f"http://127.0.0.1:{server.port}", server.key)
    prompts = [" ".join(next(source).split()[:12]) for _ in range(count + WARM_UP)]
    recalled = 0

    def whole(prompt: str) -> None:
        nonlocal recalled
        recalled += hook(command["command"], variables, prompt)

    body = {"context_budget": 1500, "format": "text", "exclude_current_session": True, "session_id": "new"}
    rows = {
        "the hook": percentiles(measure(whole, prompts)),
        "of that, the request": percentiles(
            measure(lambda prompt: client.post("/api/v1/context/assemble", {**body, "query": prompt}), prompts)
        ),
        "an empty Python process": percentiles(
            measure(lambda _: subprocess.run(["python3", "-I", "-S", "-c", ""], env=variables, check=True), prompts)
        ),
    }
    print(f"{memories:,} messages, {count} prompts, {recalled - WARM_UP} of which recalled something")
    print(f"{'':26}{'p50, ms':>10}{'p95, ms':>10}")
    for name, (p50, p95) in rows.items():
        print(f"{name:26}{p50:>10.1f}{p95:>10.1f}")
    return rows["the hook"][1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--prompts", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soma-hook-") as folder, Server(pathlib.Path(folder)) as server:
        p95 = run(server, options.memories, options.prompts)
    if p95 > LIMIT_MS:
        sys.exit(f"the hook adds more than {LIMIT_MS} ms to a prompt")


if __name__ == "__main__":
    main()
