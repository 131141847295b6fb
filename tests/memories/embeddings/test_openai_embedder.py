"""The remote embedder, with a real local server that implements OpenAI's embeddings API."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from memories import embeddings
from memories.embeddings.cache import CachedEmbedder
from memories.embeddings.openai import BATCH, OpenAIEmbedder
from memories.models import EmbeddingGeneration, VectorEmbedding
from somamemory.errors import ConfigurationError, EmbedderRefused, EmbedderUnavailable
from somamemory.telemetry import metrics
from tests.conftest import Api, drain

DIMENSION = 8

Answer = tuple[int, Any]


def vector_of(text: str, dimension: int = DIMENSION) -> list[float]:
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:dimension]]


def embedded(body: dict[str, Any], dimension: int = DIMENSION) -> Answer:
    data = [
        {"object": "embedding", "index": at, "embedding": vector_of(text, dimension)}
        for at, text in enumerate(body["input"])
    ]
    # Out of order, which the format allows: `index` identifies the text.
    return 200, {"object": "list", "model": body["model"], "data": data[::-1], "usage": {}}


def _encoded(content: Any) -> bytes:
    return content.encode() if isinstance(content, str) else json.dumps(content).encode()


class Provider:
    """The server. `script` contains the next responses; when it is empty, every request succeeds."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.script: list[Callable[[dict[str, Any]], Answer]] = []
        self.default: Callable[[dict[str, Any]], Answer] = embedded
        self.retry_after = ""
        self.pause_s = 0.0  # after each byte of a response's body
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider.requests.append(body)
                provider.headers.append({name.lower(): value for name, value in self.headers.items()})
                answer = provider.script.pop(0) if provider.script else provider.default
                status, content = answer(body)
                raw = content if isinstance(content, bytes) else _encoded(content)
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "text/html" if isinstance(content, str) else "application/json")
                    if status == 307:
                        self.send_header("Location", f"{provider.url}/elsewhere")
                    if provider.retry_after:
                        self.send_header("Retry-After", provider.retry_after)
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    for piece in (bytes([byte]) for byte in raw) if provider.pause_s else [raw]:
                        self.wfile.write(piece)
                        time.sleep(provider.pause_s)
                except OSError:
                    self.close_connection = True  # the client has given up

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(60)


def failing(status: int, message: str = "no") -> Callable[[dict[str, Any]], Answer]:
    return lambda body: (status, {"error": {"message": message, "type": "x", "code": None}})


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.stop()


@pytest.fixture
def make(provider: Provider) -> Iterator[Callable[..., OpenAIEmbedder]]:
    made: list[OpenAIEmbedder] = []

    def build(timeout_s: float = 5.0, base_url: str = "", dimension: int = DIMENSION) -> OpenAIEmbedder:
        made.append(
            OpenAIEmbedder(
                model="tiny",
                dimension=dimension,
                base_url=base_url or provider.url,
                api_key="sk-x",
                timeout_s=timeout_s,
            )
        )
        return made[-1]

    yield build
    for embedder in made:
        embedder._client.close()


@pytest.fixture
def embedder(make: Callable[..., OpenAIEmbedder]) -> OpenAIEmbedder:
    return make()


def test_each_text_gets_its_own_vector_in_any_order_of_the_response(embedder: OpenAIEmbedder) -> None:
    vectors = embedder.embed(["one", "two", "three"])
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, [vector_of("one"), vector_of("two"), vector_of("three")])


def test_the_request_names_the_model_and_the_key(embedder: OpenAIEmbedder, provider: Provider) -> None:
    embedder.embed(["one"])
    assert provider.requests == [{"model": "tiny", "input": ["one"], "encoding_format": "float"}]
    assert provider.headers[0]["authorization"] == "Bearer sk-x"


def test_many_texts_are_sent_in_batches(embedder: OpenAIEmbedder, provider: Provider) -> None:
    texts = [f"text {at}" for at in range(2 * BATCH + 1)]
    vectors = embedder.embed(texts)
    assert [len(request["input"]) for request in provider.requests] == [BATCH, BATCH, 1]
    assert np.allclose(vectors, [vector_of(text) for text in texts])


def test_empty_texts_are_not_sent_and_have_zero_rows(embedder: OpenAIEmbedder, provider: Provider) -> None:
    vectors = embedder.embed(["", "one", "  \n"])
    assert provider.requests[0]["input"] == ["one"]
    assert not vectors[[0, 2]].any()
    assert np.allclose(vectors[1], vector_of("one"))


def test_an_empty_list_of_texts_sends_no_request(embedder: OpenAIEmbedder, provider: Provider) -> None:
    assert embedder.embed([]).shape == (0, DIMENSION)
    assert embedder.embed([""]).shape == (1, DIMENSION)
    assert provider.requests == []


def test_it_waits_and_tries_again_when_it_asks_too_much(embedder: OpenAIEmbedder, provider: Provider) -> None:
    provider.script = [failing(429)]
    assert np.allclose(embedder.embed(["one"]), [vector_of("one")])
    assert len(provider.requests) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_provider_that_keeps_failing_is_unavailable(
    embedder: OpenAIEmbedder, provider: Provider, status: int
) -> None:
    provider.default = failing(status)
    with pytest.raises(EmbedderUnavailable) as caught:
        embedder.embed(["one"])
    assert not isinstance(caught.value, EmbedderRefused)
    assert len(provider.requests) == 3


def test_a_provider_that_does_not_answer_in_time_is_unavailable(
    make: Callable[..., OpenAIEmbedder], provider: Provider
) -> None:
    def late(body: dict[str, Any]) -> Answer:
        time.sleep(0.6)
        return embedded(body)

    provider.default = late
    with pytest.raises(EmbedderUnavailable, match="APITimeoutError"):
        make(timeout_s=0.15).embed(["one"])


def test_a_response_that_arrives_one_byte_at_a_time_ends_at_the_timeout(
    make: Callable[..., OpenAIEmbedder], provider: Provider
) -> None:
    provider.pause_s = 0.05
    with pytest.raises(EmbedderUnavailable, match="APITimeoutError"):
        make(timeout_s=0.5).embed(["one"])


def test_no_attempt_begins_after_the_timeout(make: Callable[..., OpenAIEmbedder], provider: Provider) -> None:
    provider.default, provider.retry_after = failing(429), "60"
    with pytest.raises(EmbedderUnavailable, match="RateLimitError"):
        make(timeout_s=5).embed(["one"])
    assert len(provider.requests) == 1


@pytest.mark.parametrize("retry_after", ["-1", "soon", "Wed, 01 Jan 2270 00:00:00 GMT", "1e9"])
def test_a_retry_after_that_is_not_a_number_of_seconds_is_ignored(
    make: Callable[..., OpenAIEmbedder], provider: Provider, retry_after: str
) -> None:
    provider.script, provider.retry_after = [failing(503)], retry_after
    assert np.allclose(make().embed(["one"]), [vector_of("one")])


def test_a_provider_that_is_not_there_is_unavailable(make: Callable[..., OpenAIEmbedder]) -> None:
    with pytest.raises(EmbedderUnavailable, match="APIConnectionError"):
        make(base_url="http://127.0.0.1:9/v1").embed(["one"])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_provider_that_does_not_take_the_texts_refuses_them(
    embedder: OpenAIEmbedder, provider: Provider, status: int
) -> None:
    provider.default = failing(status, "too long")
    with pytest.raises(EmbedderRefused, match=f"HTTP {status}"):
        embedder.embed(["one"])
    assert len(provider.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_is_not_the_fault_of_a_text(
    embedder: OpenAIEmbedder, provider: Provider, status: int
) -> None:
    provider.default = failing(status)
    with pytest.raises(EmbedderUnavailable, match=f"HTTP {status}") as caught:
        embedder.embed(["one"])
    assert not isinstance(caught.value, EmbedderRefused)


def test_a_provider_that_redirects_is_not_followed(embedder: OpenAIEmbedder, provider: Provider) -> None:
    provider.default = failing(307)

    with pytest.raises(EmbedderUnavailable, match="HTTP 307"):
        embedder.embed(["one"])
    assert len(provider.requests) == 1


def test_vectors_of_another_dimension_are_an_error_that_says_what_to_set(
    embedder: OpenAIEmbedder, provider: Provider
) -> None:
    provider.default = lambda body: embedded(body, 5)
    with pytest.raises(
        EmbedderUnavailable, match="creates vectors with 5 dimensions, but SOMA_EMBEDDING_DIMENSION is 8"
    ):
        embedder.embed(["one"])


@pytest.mark.parametrize(
    "content",
    [
        "<html>a proxy's login page</html>",
        b"<html>an error page that is declared as JSON</html>",
        b'{"data": [',
        b"",
        b"\xff",
        {},
        {"data": None},
        {"data": []},
        {"data": [{"index": 0}]},
        {"data": [{"index": 0, "embedding": None}]},
        {"data": [{"index": 0, "embedding": ["x"] * 8}]},
        {"data": [{"index": 0, "embedding": [10**400] * 8}]},
        b'{"data": [{"index": 0, "embedding": [%s]}]}' % (b"1" * 5_000),
        b"[" * 100_000,
        {"data": ["x"]},
        [],
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_of_ours(
    embedder: OpenAIEmbedder, provider: Provider, content: Any
) -> None:
    provider.default = lambda body: (200, content)
    with pytest.raises(EmbedderUnavailable):
        embedder.embed(["one"])


@pytest.mark.parametrize("tokens", [-1, "12", [1], float("nan")])
def test_a_token_count_that_makes_no_sense_is_not_counted(
    embedder: OpenAIEmbedder, provider: Provider, tokens: Any
) -> None:
    counted = metrics.embedding_tokens.labels("openai")._value
    before = counted.get()
    provider.default = lambda body: (200, embedded(body)[1] | {"usage": {"total_tokens": tokens}})

    assert np.allclose(embedder.embed(["one"]), [vector_of("one")])
    assert counted.get() == before


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300])
def test_a_search_says_that_a_query_got_no_usable_vector(
    api: Api,
    generation: EmbeddingGeneration,
    make: Callable[..., OpenAIEmbedder],
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    number: float,
) -> None:
    api.store("1", "one")
    drain()
    provider.default = lambda body: (200, {"data": [{"index": 0, "embedding": [number] * 256}]})
    embedder = make(dimension=256)
    monkeypatch.setattr(embeddings, "of", lambda generation: embedder)

    found = api.post("/memories/search", {"query": "one"}).json()

    assert found["degraded"] == ["semantic"]
    assert len(found["memories"]) == 1


def test_an_error_names_neither_the_key_nor_the_address(embedder: OpenAIEmbedder, provider: Provider) -> None:
    provider.default = failing(401, "Incorrect API key provided: sk-x")
    with pytest.raises(EmbedderUnavailable) as caught:
        embedder.embed(["one"])
    assert "sk-x" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_known_texts_are_not_sent_again(embedder: OpenAIEmbedder, provider: Provider) -> None:
    cached = CachedEmbedder(embedder)
    cached.embed(["one", "two"])
    vectors = cached.embed(["two", "three", "two"])
    assert [request["input"] for request in provider.requests] == [["one", "two"], ["three"]]
    assert np.allclose(vectors, [vector_of("two"), vector_of("three"), vector_of("two")])


@pytest.mark.parametrize(("model", "dimension"), [("", 8), ("tiny", 0)])
def test_a_model_and_a_dimension_are_needed(model: str, dimension: int) -> None:
    with pytest.raises(ConfigurationError, match="SOMA_EMBEDDING_MODEL and SOMA_EMBEDDING_DIMENSION"):
        OpenAIEmbedder(model=model, dimension=dimension, base_url="http://x", api_key="", timeout_s=1)


def test_the_drain_works_with_it_and_lets_one_refused_text_wait(
    api: Api,
    generation: EmbeddingGeneration,
    make: Callable[..., OpenAIEmbedder],
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def picky(body: dict[str, Any]) -> Answer:
        return failing(400)(body) if "bad" in body["input"] else embedded(body, 256)

    def long_vector(text: str, dimension: int) -> list[float]:
        return [byte / 255 for byte in hashlib.shake_256(text.encode()).digest(dimension)]

    monkeypatch.setitem(globals(), "vector_of", long_vector)
    provider.default = picky
    embedder = make(dimension=256)
    monkeypatch.setattr(embeddings, "of", lambda generation: embedder)
    for at, text in enumerate(["one", "bad", "two"]):
        api.store(str(at), text)
    drain()
    states = [api.get(f"/memories/{at}").json()["memory"]["index_state"] for at in range(3)]
    assert states == ["ready", "pending", "ready"]
    assert VectorEmbedding.objects.for_tenant(api.tenant).get(due_at__isnull=False).error.endswith("HTTP 400")
