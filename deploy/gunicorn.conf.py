"""The gunicorn configuration, also used by `manage.py serve`."""

import contextlib
import fcntl
import gc
import logging
import os
import resource
import shutil
import sys
import time

import django

from somamemory import allocator, files
from somamemory.errors import ConfigurationError

allocator.return_large_blocks()
files.create_privately()
OPEN_FILES = 4096  # a process can have 500 clients, but some systems allow only 256 open files by default
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= soft < OPEN_FILES:
    with contextlib.suppress(OSError, ValueError):  # not allowed
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES if hard < 0 else min(OPEN_FILES, hard), hard))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
# With several threads, BLAS and OpenMP would spin while the threads wait for each other. A search of 10,000 memories
# would then take 29 ms of CPU time instead of 13 ms.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The workers store their metrics in this directory, so that each of them can report the totals. The variable must be
# set before prometheus_client is imported.
metrics_dir = os.environ["PROMETHEUS_MULTIPROC_DIR"] = files.mapped_folder("somamemory-metrics-")
try:
    django.setup()
except ConfigurationError as error:
    raise SystemExit(f"error: {error}") from None

from django.conf import settings  # noqa: E402 - requires django.setup()
from django.db import DatabaseError, InterfaceError, connection, connections  # noqa: E402
from gunicorn import util  # noqa: E402

from somamemory import checks, server_address  # noqa: E402
from somamemory.db import sqlstate  # noqa: E402
from somamemory.web import gunicorn_errors, gunicorn_logger  # noqa: E402

util.write_error = gunicorn_errors.write  # every error is returned as problem+json

try:
    checks.refuse_impossible_settings()
except ConfigurationError as error:
    raise SystemExit(f"error: {error}") from None

bind = server_address.authority(settings.HOST, settings.PORT)
# With SQLite, the default is one process, which needs the least memory. Its threads mostly wait for the database.
workers = settings.WORKERS
worker_class = "somamemory.web.gunicorn_worker.BufferingWorker"
worker_connections = 500  # per process; any further connection closes the one that has been idle for the longest time
threads = settings.THREADS
# The application is loaded once and shared by the processes. After the fork, each process opens its own connections and
# starts its own threads (for the database, Milvus, Redis and the embedder).
preload_app = True
timeout = settings.WORKER_TIMEOUT_S
graceful_timeout = settings.STOP_TIMEOUT_S
keepalive = 75
# Replacing a process after this many requests frees leaked memory. The jitter avoids replacing all processes at once.
# While a process is replaced, new connections wait in the socket.
max_requests = settings.MAX_REQUESTS
max_requests_jitter = max_requests // 10
# By default, gunicorn uses the C parser gunicorn_h1c if it is installed. It saves 10 µs per request, but there are no
# wheels for it, and the tests of malformed requests cover the parser that is part of every installation.
http_parser = "python"
limit_request_line = 8190  # gunicorn's maximum; clients can send a longer query in the body of a POST request
# By default, gunicorn accepts SCRIPT_NAME and PATH_INFO from trusted peers as headers, so any local program could
# change a request's route. The environment variable SCRIPT_NAME would move all routes.
forwarder_headers = ""
os.environ.pop("SCRIPT_NAME", None)
# Trust X-Forwarded-Proto from the same proxies as X-Forwarded-For, and from this machine.
forwarded_allow_ips = ",".join(["127.0.0.1", "::1", *map(str, settings.TRUSTED_PROXIES)])
accesslog = None  # the application itself logs one line per request
errorlog = "-"
logger_class = gunicorn_logger.JsonLogger
loglevel = "warning"
proc_name = "somamemory"
control_socket_disable = True  # not used, and all servers of the same user would share its path


def pre_fork(server, worker):
    connections.close_all()  # the checks may have opened a connection
    # Garbage collection writes to every object that it scans, so each worker would get its own copy of the memory
    # pages.
    gc.freeze()


def post_worker_init(worker):
    from django.core.management import call_command

    from memories import index
    from memories.embeddings import current
    from memories.index import generations
    from operations import health
    from somamemory.errors import ConfigurationError, IndexUnavailable
    from somamemory.scheduling import scheduler
    from somamemory.telemetry import tracing

    try:
        generations.check_settings()
        index.try_out(generations.active())
    except ConfigurationError as error:
        refuse(worker, error)
    except IndexUnavailable:
        pass  # keyword search works without the vector index, and indexing is retried
    except (DatabaseError, InterfaceError) as error:
        if not sqlstate.is_busy(error):
            raise
        # The server is not ready until the database responds. If this process exited, gunicorn would stop all others.
    if (embedder := current()).in_process:
        embedder.embed(["warm"])  # so that the first request does not wait for the model to load
    # Tracing is started after the fork, because threads and connections do not survive a fork.
    tracing.start()
    # All objects that exist now are permanent. Scanning them for garbage would stop all threads for 100 ms.
    gc.collect()
    gc.freeze()
    # This is how long a busy thread holds the GIL at a time. The thread that answers `/readyz` may have to wait for
    # several others in turn: with the default of 5 ms, it waited 0.3 s during the largest requests.
    sys.setswitchinterval(0.001)
    scheduler.start()
    worker.check_readiness = health.refresh_readiness
    once("banner", lambda: call_command("banner"))


def refuse(worker, error):
    """Stop the server because it cannot be used as configured.

    Only the first worker exits with an error, and gunicorn then stops the others. If two workers exited, gunicorn would
    print a traceback.
    """
    first = []
    once("refused", lambda: first.append(print(f"error: {error}", file=sys.stderr, flush=True)))
    until = time.monotonic() + 30
    while not first and worker.alive and time.monotonic() < until:
        time.sleep(0.05)
    worker.alive = False
    raise SystemExit(4 if first else 0)


def worker_int(worker):
    # This runs in a signal handler, which may have interrupted a call to `print`, so it must not call `print` itself.
    once("stopping", lambda: os.write(1, "Stopping …\n".encode()))


_begun = set()


def once(what, do):
    """Call `do` only once for each `what`, in the first process that gets here.

    This also holds if a signal handler interrupts this function and calls it again. If the process is killed during
    `do`, the kernel releases its lock, and the next process calls `do`.
    """
    if what in _begun:
        return
    _begun.add(what)
    with open(os.path.join(metrics_dir, what), "a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        # Do not use tell(): it returns the position at the time the file was opened, before the wait for the lock.
        if os.fstat(file.fileno()).st_size == 0:
            do()
            file.write("done")


def child_exit(server, worker):
    from somamemory.telemetry import metrics

    metrics.process_ended(worker.pid)


def on_exit(server):
    shutil.rmtree(metrics_dir, ignore_errors=True)


def worker_exit(server, worker):
    """Stop the application's own threads in an orderly way, then exit the process immediately.

    Otherwise, the interpreter would shut down while library threads are still running. This would write stack traces
    to the log and, on a busy machine, take longer than the time allowed for stopping.
    """
    from memories import index
    from somamemory.scheduling import scheduler
    from somamemory.telemetry import tracing

    # Wait for half of the time until the arbiter sends SIGKILL. Work that is not finished by then is done after the
    # next start. Closing the index while a thread uses it would only fill the log with the vendor's stack traces.
    if scheduler.stop(settings.STOP_TIMEOUT_S / 2):
        index.close_all()
    with contextlib.suppress(DatabaseError):
        if connection.vendor == "sqlite":
            # Leave a complete database file that can be copied.
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tracing.stop()
    error = sys.exc_info()[1]
    code = error.code if isinstance(error, SystemExit) else error and 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)
