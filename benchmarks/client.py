"""Measure the CPU time that the Python client adds to a call.

    python -m benchmarks.client

It compares the clients with `http.client` on a kept-alive connection to a server that responds immediately. It also
compares the embedded client with the application that it calls. The compared calls run in alternating blocks. The
results are medians.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients" / "python" / "src"))

from somamemory_client import AsyncClient, Client

BLOCKS, CALLS = 60, 40
HEADERS = {"Authorization": "Bearer key", "Content-Type": "application/json"}
QUESTION = "What does Ada drink?"
QUERY = json.dumps({"user_id": "ada", "top_k": 10, "query": QUESTION}).encode()
HIT = {"id": "6f8d7a6e-0000-4000-8000-000000000000", "payload": {"text": "Ada drinks coffee"}, "score": 0.5}
BODY = json.dumps({"memories": [HIT] * 5, "degraded": [], "mode": "hybrid", "took_ms": 1.0}).encode()
HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-ID: 1\r\nContent-Length: {len(BODY)}\r\n\r\n"


def serve(listener: socket.socket) -> None:
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def answer(connection: socket.socket) -> None:
    """Answer every request on a connection with the same response."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
        before, end, body = received.partition(b"\r\n\r\n")
        length = int(before.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if end and len(body) >= length:
            connection.sendall(HEAD.encode() + BODY)
            received = b""


def compare(name: str, plain: Callable[[], object], client: Callable[[], object], blocks: int = BLOCKS) -> None:
    """Print the CPU time of a plain call and the time that the client adds. Each function makes CALLS calls."""
    plain(), client()
    pairs = [(microseconds(plain), microseconds(client)) for _ in range(blocks)]
    first = statistics.median(pair[0] for pair in pairs)
    added = statistics.median(pair[1] - pair[0] for pair in pairs)
    print(f"{name}: {first:.0f} µs per call; the client adds {added:.0f} µs ({1 + added / first:.2f} times)")


def microseconds(block: Callable[[], object]) -> float:
    began = time.process_time()
    block()
    return (time.process_time() - began) / CALLS * 1e6


def repeated(call: Callable[[], object]) -> Callable[[], object]:
    return lambda: [call() for _ in range(CALLS)]


def over_http(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def plain() -> object:
        connection.request("POST", "/api/v1/memories/search", QUERY, HEADERS)
        return json.loads(connection.getresponse().read())

    url = f"http://127.0.0.1:{port}"
    with Client(url, "key") as client:
        search = client.memories.search
        compare("http.client", repeated(plain), repeated(lambda: search(QUESTION, user_id="ada", top_k=10)))
    later = AsyncClient(url, "key")

    async def searches() -> None:
        for _ in range(CALLS):
            await later.memories.search(QUESTION, user_id="ada", top_k=10)

    with asyncio.Runner() as runner:
        compare("http.client, asynchronous client", repeated(plain), lambda: runner.run(searches()))
        runner.run(later.close())
    connection.close()


def embedded() -> None:
    with tempfile.TemporaryDirectory() as folder:
        client = Client.embedded(folder)
        client.memories.store_all([f"Memory {number} about coffee" for number in range(200)])
        client.memories.store("Tea", key="tea")
        config, transport = client._caller.config, client._caller.transport
        get = config.request("memories.get_by_key", {"key": "tea"})
        search = config.request("memories.search", {"query": QUESTION})
        plain, call = repeated(lambda: transport.send(get, 60)), repeated(lambda: client.memories.get(key="tea"))
        compare("application, get", plain, call, 12)
        plain = repeated(lambda: transport.send(search, 60))
        compare("application, search", plain, repeated(lambda: client.memories.search(QUESTION)), 12)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = multiprocessing.Process(target=serve, args=(listener,), daemon=True)
    server.start()
    over_http(listener.getsockname()[1])
    server.terminate()
    embedded()


if __name__ == "__main__":
    main()
