"""A client for a Milvus server: connections, deadlines, retries and the circuit breaker.

pymilvus is imported when the first call connects, because the import takes a third of a second and starts gRPC threads.
Commands that do not use the index never import it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from memories.index.milvus.collection import Collection
from memories.index.milvus.errors import (
    NOT_FOUND,
    NOT_LOADED,
    code_of,
    is_transient,
    may_succeed_again,
    translating_errors,
)
from memories.index.milvus.patience import Patience
from somamemory import failpoints
from somamemory.breaker import Breaker
from somamemory.errors import IndexUnavailable
from somamemory.retry import RetryPolicy
from somamemory.telemetry import metrics, tracing

T = TypeVar("T")
log = logging.getLogger("soma.index")

RETRY = RetryPolicy(attempts=4, first_pause_s=0.02)
PROBE_EVERY_S = 2.0  # the interval between attempts to connect while the engine is down

Call = Callable[[Any, dict[str, Any]], T]  # takes a pymilvus client, and the arguments that set the deadline


@dataclass(frozen=True)
class Connection:
    """The address of the engine, and how long to wait for it.

    uri: a URL starting with http://, https:// or tcp://.
    token: "user:password" or an API key; can be empty.
    ca: a file with trusted certificates, for https.
    timeout_s: the deadline for a call.
    search_timeout_s: the deadline for a search.
    """

    uri: str
    token: str = ""
    ca: str = ""
    timeout_s: float = 10.0
    search_timeout_s: float = 2.0


class Client:
    """Makes calls to one collection. The first call in each process, including a forked one, connects."""

    def __init__(self, connection: Connection, collection: Collection) -> None:
        self._at = connection
        self._collection = collection
        self.timeout_s = connection.timeout_s
        self.search_timeout_s = min(self.timeout_s, connection.search_timeout_s)
        self._connecting = threading.Lock()
        self.vendor: Any = None
        self.vendor_of = 0  # the id of the process that created `vendor`
        self.breaker = Breaker(
            "the vector index", log, pause_s=PROBE_EVERY_S, probe=self._reconnect, on_change=_show_breaker
        )
        self._patience = Patience(self.search_timeout_s)

    def call(self, action: str, call: Call[T], timeout_s: float | None = None) -> T:
        deadline = time.monotonic() + (timeout_s or self.timeout_s)
        client = self._connected(deadline)
        with tracing.span(f"index: {action}"):
            return self._tried(action, client, call, deadline)

    def search(self, action: str, call: Call[T], *, hasty: bool) -> T:
        """Run a search and record its duration.

        hasty: do not wait much longer than recent calls have taken.
        """
        timeout_s = self._patience.wait_s if hasty else self.search_timeout_s
        self._require_closed_breaker()  # before the clock starts, so that rejected searches are not recorded
        began = time.monotonic()
        try:
            return self.call(action, call, timeout_s)
        finally:
            self._patience.record(time.monotonic() - began)

    def _tried(self, action: str, client: Any, call: Call[T], deadline: float) -> T:
        """Run the call, and retry it after a transient error while there is time.

        If the collection has been released, for example by a restart, it is loaded first. Loading extends the deadline.
        """

        def attempt() -> T:
            nonlocal deadline
            try:
                failpoints.reach("call.vector_index")
                with translating_errors(action):
                    return call(client, _timeout(deadline))
            except IndexUnavailable as error:
                if code_of(error) == NOT_LOADED:
                    began = time.monotonic()
                    self._load(client)
                    deadline += time.monotonic() - began
                raise

        try:
            result = RETRY.run(attempt, may_succeed_again, deadline=lambda: deadline)
        except IndexUnavailable as error:
            self._note(error)
            raise
        self.breaker.succeeded()
        return result

    def _note(self, error: IndexUnavailable) -> None:
        """Update the client's state after a failure: the engine may be down, or the collection may be gone."""
        if code_of(error) == NOT_FOUND:
            self.close()  # the next call connects again and creates the collection
        elif is_transient(error):
            self.breaker.failed(f"{self._at.uri}: {error.detail}")

    def _load(self, client: Any) -> None:
        with translating_errors("load"):
            client.load_collection(self._collection.name, timeout=self.timeout_s)

    def close(self) -> None:
        with self._connecting:
            self._forget()

    def _require_closed_breaker(self) -> None:
        if not self.breaker.allows():
            raise IndexUnavailable("calls to the vector index are paused after a recent failure; retry later")

    def _connected(self, deadline: float) -> Any:
        self._require_closed_breaker()
        if self.vendor is not None and self.vendor_of == os.getpid():
            return self.vendor
        if not self._connecting.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise IndexUnavailable("another request is still connecting to the vector index; retry later")
        try:
            if self.vendor_of != os.getpid():
                self.vendor = None  # not closed: an inherited client shares the parent process's connection
            if self.vendor is None:
                self._require_closed_breaker()
                self.vendor = self._connect()
                self.vendor_of = os.getpid()
            return self.vendor
        finally:
            self._connecting.release()

    def _reconnect(self) -> None:
        """Open a new connection. gRPC itself can wait up to two minutes before it retries a failed connection."""
        with self._connecting:
            self._forget()
            self.vendor = self._connect()
            self.vendor_of = os.getpid()

    def _forget(self) -> None:
        client, self.vendor = self.vendor, None
        if client is not None and self.vendor_of == os.getpid():
            client.close()

    def _connect(self) -> Any:
        try:
            with translating_errors("open"):
                return self._open()
        except IndexUnavailable as error:
            # An attempt to connect can take until its deadline, so other requests must not wait for it.
            self.breaker.open(f"{self._at.uri}: {error.detail}")
            raise

    def _open(self) -> Any:
        from pymilvus import MilvusClient

        more: dict[str, Any] = {"secure": True, "server_pem_path": self._at.ca} if self._at.ca else {}
        # Use a dedicated connection. Otherwise, pymilvus would share one among all indexes at the same address, and
        # never close it.
        client = MilvusClient(
            uri=self._at.uri, token=self._at.token, timeout=self.search_timeout_s, dedicated=True, **more
        )
        try:
            self._collection.prepare(client)
        except BaseException:  # whatever the error, an open client would keep its connection and threads
            client.close()
            raise
        return client


class _OneAttempt(float):
    """A timeout in seconds that makes pymilvus attempt a call only once.

    Otherwise, pymilvus would retry a rejected call until `timeout` has passed, and for up to three more seconds,
    without jitter. To decide whether to stop, it evaluates `elapsed >= timeout`, which is always true for this type.
    For gRPC, the timeout is an ordinary number.
    """

    def __le__(self, other: float) -> bool:
        return True


def _timeout(deadline: float) -> dict[str, Any]:
    """Return the arguments that make pymilvus end a call at the deadline."""
    return {"timeout": _OneAttempt(max(0.01, deadline - time.monotonic()))}


def _show_breaker(is_open: bool) -> None:
    metrics.breaker_open.set(int(is_open))
