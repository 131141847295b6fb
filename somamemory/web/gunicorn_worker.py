"""gunicorn's worker class: threads that never wait for a client.

gunicorn's own threads read requests and write responses, so a server stalls when it has as many slow clients as
threads. Here, the main thread receives the head and body of each request, and sends the rest of a response to a slow
client. A thread gets a request once the request has arrived, and is free again when the response has been produced.
Limits apply to the time that clients may take, to the number of connections, and to the number of bytes held for them.

If a body takes longer than GRACE_S to arrive, the application gets the request without it. If the application rejects
the request without reading the body, the response is sent immediately and the connection is closed. Otherwise, the
request is processed when its body has arrived.

Handing a request over to a thread takes up to a third of the time needed to fetch a memory. A thread therefore waits a
moment for the next request on the same connection, unless another connection is waiting for a thread.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

from django.conf import settings
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from somamemory.telemetry import metrics
from somamemory.web import gunicorn_errors, readiness
from somamemory.web.gunicorn_connection import BodyPending, Connection, Outcome, Phase
from somamemory.web.gunicorn_logger import JsonLogger
from somamemory.web.gunicorn_signals import SignalledWorker

# Probes have their own thread, so that they get a response while all others are busy.
PROBES = {prefix + path for prefix in (b"", b"/api/v1") for path in (b"/ping", b"/healthz", b"/readyz")}
# The main thread itself responds to a readiness probe if the last result is no older than this. Each handover to
# another thread may wait 0.15 s for the GIL.
READINESS_AGE_S = readiness.MAX_AGE_S - 1.0
GRACE_S = 1.0
TICK_S = 0.25  # how often deadlines are checked
CLOSING_S = 2.0
YIELD_S = 0.0002
LINGER_MS = 2  # how long a thread waits for the next request on a connection
# Clients may take SOMA_CLIENT_TIMEOUT_S, plus the time that the transfer takes at this rate.
MIN_BYTES_PER_S = 20_000
RECEIVED_AT_ONCE_BYTES = 256 * 1024
SENT_AT_ONCE_BYTES = 64 * 1024  # small pieces of a response are sent together
# A thread stops producing a response while more than this is waiting to be sent.
PAUSE_ABOVE_BYTES = 256 * 1024
# The maximum total size of all requests and responses that are waiting for clients, per process.
MAX_HELD_BYTES = 64 * 1024 * 1024
# How much of a body to read and discard after responding: a client may read the response only after sending its body.
MAX_DISCARDED_BYTES = 32 * 1024 * 1024
_IDLE = (Phase.IDLE, Phase.CLOSING)
_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)
_NO_CONNECTION = (errno.EAGAIN, errno.ECONNABORTED)


class Pool(ThreadPoolExecutor):
    @property
    def has_work(self) -> bool:
        """Return whether a request is waiting for a thread."""
        return not self._work_queue.empty()


class BufferingWorker(SignalledWorker):
    """gunicorn's `worker_class`. Serves HTTP/1 without TLS."""

    check_readiness: Callable[[], None] | None = None  # set by the configuration file

    @classmethod
    def check_config(cls, cfg: Config, log: JsonLogger) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl or cfg.proxy_protocol != "off":
            raise SystemExit(
                "error: gunicorn's TLS and PROXY protocol are not supported; use a proxy that forwards plain HTTP"
            )

    def init_process(self) -> None:
        self.prepare()
        super().init_process()

    def prepare(self) -> None:
        self.probe_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
        # Connections that wait for their clients, except those on which a thread is working.
        self.waiting: dict[Connection, None] = {}
        self.sweeps_at = 0.0
        self.checking: Future[None] | None = None

    def get_thread_pool(self) -> Pool:
        return Pool(max_workers=self.cfg.threads)

    # --- Waiting, in the main thread ---------------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        if self.cfg.workers > 1 and self.nr_conns:
            # A new connection wakes all processes. Those with fewer connections get a head start; otherwise, one
            # process could accept all connections.
            time.sleep(YIELD_S * self.nr_conns.bit_length())
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in _NO_MORE_FILES:
                self._evict()
            elif error.errno not in _NO_CONNECTION:
                raise
            return
        sock.setblocking(False)
        self.nr_conns += 1
        connection = Connection(sock, address, listener.getsockname())
        self._wait(connection, Phase.HEAD, settings.CLIENT_TIMEOUT_S)
        self._read(connection)
        while self.nr_conns >= self.worker_connections and self._evict():
            pass

    def _wait(self, connection: Connection, phase: Phase, seconds: float) -> None:
        self._leave(connection)
        connection.wait(phase, seconds)
        events = EVENT_WRITE if phase is Phase.WRITE else EVENT_READ
        self.waiting[connection] = None
        self.poller.register(connection.sock, events, partial(self._on_ready, connection))

    def _leave(self, connection: Connection) -> None:
        if connection in self.waiting:
            del self.waiting[connection]
            self.poller.unregister(connection.sock)

    def _on_ready(self, connection: Connection, sock: socket.socket) -> None:
        if connection not in self.waiting:  # closed after the poller reported it
            return
        if connection.phase is Phase.WRITE:
            self._write(connection)
        else:
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(RECEIVED_AT_ONCE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        if connection.phase is Phase.CLOSING:
            self._discard(connection, data)
        elif data or connection.head is not None:
            connection.has_ended = not data
            connection.receive(data)
            self._advance(connection)
        else:
            self._close(connection)

    def _discard(self, connection: Connection, data: bytes) -> None:
        connection.discarded += len(data)
        if not data or connection.discarded > MAX_DISCARDED_BYTES:
            self._close(connection)

    def _advance(self, connection: Connection) -> None:
        """Process the request if it has arrived, or wait for the rest."""
        if connection.is_due(settings.MAX_BODY_BYTES):
            self._dispatch(connection)
        elif connection.head is not None:
            if connection.phase is not Phase.BODY:
                self._wait(connection, Phase.BODY, _patience_s(connection.head.body_size or 0))
            self._bound_held_bytes()
        elif connection.phase is Phase.IDLE and connection.received:
            self._wait(connection, Phase.HEAD, settings.CLIENT_TIMEOUT_S)

    def _write(self, connection: Connection) -> None:
        try:
            remaining = connection.out.flush()
        except ConnectionError:
            self._close(connection)
            return
        if not remaining:
            self._on_sent(connection)

    def _on_sent(self, connection: Connection) -> None:
        if connection.outcome is Outcome.PAUSED:
            self._leave(connection)
            self._submit(self.tpool, self.resume, connection)
        elif connection.outcome is Outcome.KEEP:
            if connection.response is not None:
                connection.next_request()
            self._wait(connection, Phase.IDLE, self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
            self._advance(connection)
        else:
            self._shut_down(connection)

    def _shut_down(self, connection: Connection) -> None:
        """Close our side and keep reading for a while.

        Closing a socket with unread input would discard the response.
        """
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        brief = connection.is_complete or not self.alive
        self._wait(connection, Phase.CLOSING, CLOSING_S if brief else settings.CLIENT_TIMEOUT_S)

    def _close(self, connection: Connection) -> None:
        self._leave(connection)
        if not connection.is_closed:
            connection.is_closed = True
            connection.sock.close()
            self.nr_conns -= 1
            if connection.result is not None:
                self.tpool.submit(connection.end_response)

    # --- Bounds ------------------------------------------------------------------------------------------------------

    def _evict(self) -> bool:
        """Close an idle connection or, if there is none, the one that has waited longest.

        Return whether one was closed.
        """
        if not self.waiting:
            return False
        victim = min(self.waiting, key=lambda connection: (connection.phase not in _IDLE, connection.since))
        if victim.phase not in _IDLE:
            metrics.clients_cut_off.labels("connections").inc()
        self._close(victim)
        return True

    def _bound_held_bytes(self) -> None:
        held = sum(connection.held for connection in self.waiting)
        while held > MAX_HELD_BYTES:
            large = [connection for connection in self.waiting if connection.held > RECEIVED_AT_ONCE_BYTES]
            victim = min(large or self.waiting, key=lambda connection: connection.since)
            held -= victim.held
            metrics.clients_cut_off.labels("bytes").inc()
            self._close(victim)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, TICK_S))
        idle = self.checking is None or self.checking.done()
        if self.check_readiness and idle and not readiness.last(readiness.EVERY_S):
            self.checking = self.probe_pool.submit(self.check_readiness)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close connections that have waited too long. gunicorn calls this in every iteration of its loop."""
        now = time.monotonic()
        if not force and now < self.sweeps_at:
            return
        self.sweeps_at = now + TICK_S
        for connection in list(self.waiting):
            if force:
                self._close(connection)
            elif connection.deadline <= now:
                self._on_deadline(connection)
            elif connection.phase is Phase.BODY and not connection.is_tried and connection.since + GRACE_S <= now:
                self._dispatch(connection)

    def murder_pending(self) -> None:
        """Do nothing: `murder_keepalived` already handles every waiting connection."""

    def _cap_keepalive(self, deadline: float) -> None:
        for connection in self.waiting:
            if connection.phase in (Phase.IDLE, Phase.HEAD, Phase.CLOSING):
                connection.deadline = min(connection.deadline, deadline)

    def _on_deadline(self, connection: Connection) -> None:
        if connection.phase not in _IDLE:
            metrics.clients_cut_off.labels("timeout").inc()
        if connection.phase in (Phase.HEAD, Phase.BODY) and connection.received:
            gunicorn_errors.time_out(connection.out)
            connection.outcome = Outcome.CLOSE
            self._wait(connection, Phase.WRITE, CLOSING_S)
            self._write(connection)
        else:
            self._close(connection)

    # --- Handing over to threads -------------------------------------------------------------------------------------

    def _dispatch(self, connection: Connection) -> None:
        self._leave(connection)
        connection.is_tried = True
        path = connection.head.path if connection.head is not None else b""
        if path in PROBES and path.endswith(b"/readyz") and readiness.last(READINESS_AGE_S):
            handled: Future[Outcome] = Future()
            handled.set_result(self.handle(connection))
            self.method_queue.defer(self.finish_request, connection, handled)
        elif path in PROBES:
            self._submit(self.probe_pool, self.handle, connection)
        else:
            self._submit(self.tpool, self.serve, connection)

    def _submit(self, pool: ThreadPoolExecutor, run: Callable[[Connection], Outcome], connection: Connection) -> None:
        future = pool.submit(run, connection)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, connection, done))

    def finish_request(self, connection: Connection, future: Future[Outcome]) -> None:
        connection.outcome = Outcome.DROP if future.cancelled() or future.exception() else future.result()
        if connection.outcome is Outcome.DROP:
            self._close(connection)
        elif connection.outcome is Outcome.NEEDS_BODY:
            self._await_body(connection)
        elif connection.out.size:
            self._wait(connection, Phase.WRITE, _patience_s(connection.out.size))
            self._bound_held_bytes()
        else:
            self._on_sent(connection)

    def _await_body(self, connection: Connection) -> None:
        head = connection.head
        if head is None or head.body_size is None or head.body_size > settings.MAX_BODY_BYTES:
            return self._close(connection)  # unreachable: the application rejects these requests unread
        since = connection.since
        self._wait(connection, Phase.BODY, _patience_s(head.body_size))
        connection.since = since  # the connection has been waiting for its body since then
        self._bound_held_bytes()
        if head.expects_continue and connection in self.waiting:
            connection.out.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                connection.out.flush()
            except ConnectionError:
                self._close(connection)

    # --- In a thread -------------------------------------------------------------------------------------------------

    def serve(self, connection: Connection) -> Outcome:
        """Handle a request, and the requests that the client sends immediately after each response."""
        outcome = self.handle(connection)
        while outcome is Outcome.KEEP and not connection.out.size and self._has_next(connection):
            connection.is_tried = True
            outcome = self.handle(connection)
        return outcome

    def _has_next(self, connection: Connection) -> bool:
        if self.tpool.has_work or not self.alive:
            return False
        connection.next_request()
        if not connection.received:
            connection.receive_within(LINGER_MS, RECEIVED_AT_ONCE_BYTES)
        return connection.is_due(settings.MAX_BODY_BYTES)

    def handle(self, connection: Connection) -> Outcome:
        request = None
        try:
            request = connection.parse(self.cfg)
            return self._respond(connection, request)
        except BodyPending:
            return Outcome.NEEDS_BODY
        except (NoMoreData, StopIteration, ConnectionError):
            return Outcome.DROP
        except Exception as error:  # noqa: BLE001 - whatever it is, gunicorn logs it and the client gets a response
            self.handle_error(request, connection.out, connection.client, error)
            return Outcome.CLOSE

    def _respond(self, connection: Connection, request: Any) -> Outcome:
        request._expected_100_continue = False  # `_await_body` sends it
        response, environ = wsgi.create(request, connection.out, connection.client, connection.server, self.cfg)
        environ |= {"gunicorn.socket": connection.sock, "wsgi.multithread": True}
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        if not self.alive or not connection.is_complete:
            response.force_close()
        connection.begin_response(response, self.wsgi(environ, response.start_response))
        return self.resume(connection)

    def resume(self, connection: Connection) -> Outcome:
        """Produce the response, or as much of it as the client accepts."""
        try:
            outcome = self._produce(connection)
        except ConnectionError:
            outcome = Outcome.DROP
        except Exception:  # raised by the application; `handle` responds if nothing has been sent yet
            if not connection.response.headers_sent:
                connection.end_response()
                raise
            self.log.exception("Error handling request")
            outcome = Outcome.DROP
        if outcome is not Outcome.PAUSED:
            connection.end_response()
        return outcome

    def _produce(self, connection: Connection) -> Outcome:
        response = connection.response
        for piece in connection.pieces:
            response.write(piece)
            if connection.out.size > SENT_AT_ONCE_BYTES and connection.out.flush() > PAUSE_ABOVE_BYTES:
                return Outcome.PAUSED
        response.close()
        connection.out.flush()
        reusable = not response.should_close() and connection.parser.finish_body()
        return Outcome.KEEP if reusable else Outcome.CLOSE


def _patience_s(size: int) -> float:
    """Return how many seconds a client may take to transfer this many bytes."""
    return float(settings.CLIENT_TIMEOUT_S + size / MIN_BYTES_PER_S)
