"""Start the service from an installed package, store a memory, and find it again. `scripts/release.sh` runs this.

    scripts/try_installed.py VENV

The service listens on SOMA_PORT, and uses the user's data folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

READY_WITHIN_S = 120


def main(venv: Path) -> None:
    url = f"http://127.0.0.1:{os.environ['SOMA_PORT']}"
    started = time.monotonic()
    server = subprocess.Popen([venv / "bin" / "somamemory", "serve"], stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        _wait_until_ready(url, server)
        print(f"  ready after {time.monotonic() - started:.1f} s")
        _store_and_find(url)
        print("  stored a memory and found it")
    finally:
        server.terminate()
        server.wait(30)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()  # noqa: S310 - http, from above
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"error: the service was not ready after {READY_WITHIN_S} s, or has exited")


def _store_and_find(url: str) -> None:
    _post(f"{url}/memories", {"payload": {"text": "Ada drinks her coffee without sugar."}})
    found = _post(f"{url}/memories/search", {"query": "What does Ada drink?"})
    assert found["memories"][0]["payload"]["text"].startswith("Ada drinks"), found  # noqa: S101


def _post(url: str, body: dict[str, Any]) -> Any:
    key = (Path.home() / ".local" / "share" / "somamemory" / "first-key").read_text().strip()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
        return json.load(response)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
