"""Configuration: the only file that reads the environment.

Every knob is a `SOMA_…` variable with a default that works on one machine; docs/configuration.md lists them.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import environ

from somamemory.errors import ConfigurationError

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent


def _data_dir() -> Path:
    """The one folder that holds everything the embedded service writes."""
    path = Path(env.str("SOMA_DATA_DIR", str(BASE_DIR / "var"))).expanduser().resolve()
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def _secret_key() -> str:
    """`SOMA_SECRET_KEY`, or one made on the first start and kept beside the data."""
    if given := env.str("SOMA_SECRET_KEY", ""):
        return str(given)
    path = DATA_DIR / "secret-key"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(made := secrets.token_urlsafe(50))
    return made


def _bounded(name: str, default: int, low: int, high: int) -> int:
    try:
        value = int(env.int(name, default))
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number") from None
    if not low <= value <= high:
        raise ConfigurationError(f"{name} must be between {low} and {high}; it is {value}")
    return value


DATA_DIR = _data_dir()
SECRET_KEY = _secret_key()
DEBUG = env.bool("SOMA_DEBUG", False)
# Header authentication only and no link is ever built from Host, so any name may be used to reach the API.
ALLOWED_HOSTS = env.list("SOMA_ALLOWED_HOSTS", default=["*"])

HOST = env.str("SOMA_HOST", "127.0.0.1")
PORT = _bounded("SOMA_PORT", 9595, 1, 65535)
THREADS = _bounded("SOMA_THREADS", 8, 1, 256)
BOOTSTRAP_KEY = env.str("SOMA_BOOTSTRAP_KEY", "")
# Web processes of the whole installation. They share the limits without a Redis to count in.
WORKERS = _bounded("SOMA_WORKERS", 1, 1, 1024)

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.staticfiles",
    "ninja",  # its docs pages, served from the package
    "tenants",
    "memories",
    "somamemory",
]
MIDDLEWARE = [
    "somamemory.middleware.RequestContext",
    "somamemory.middleware.Compression",
    "somamemory.middleware.Problems",
    "somamemory.middleware.RootAliases",
    "whitenoise.middleware.WhiteNoiseMiddleware",
]
ROOT_URLCONF = "somamemory.urls"
WSGI_APPLICATION = "somamemory.wsgi.application"
APPEND_SLASH = False
TEMPLATES: list[dict[str, Any]] = [
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {}}
]

# --- Database: PostgreSQL by URL, or SQLite in the data folder ---------------------------------------------------

DATABASE_URL = env.str("SOMA_DATABASE_URL", "")
_SQLITE = {
    "CONN_MAX_AGE": None,  # opening one costs 0.6 ms
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": DATA_DIR / "somamemory.sqlite3",
    "TEST": {"NAME": DATA_DIR / "test.sqlite3"},  # a file: threads and WAL behave as they do in earnest
    "OPTIONS": {
        # A write transaction takes its lock at once and waits for others; it never fails half way (SQLITE_BUSY).
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        # FULL: a commit survives a power cut. NORMAL would not promise that in WAL mode.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;"
            "PRAGMA mmap_size=268435456; PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=67108864;"
        ),
    },
}


def _database() -> dict[str, Any]:
    if not DATABASE_URL:
        return _SQLITE
    parsed: dict[str, Any] = env.db_url_config(DATABASE_URL)
    if parsed["ENGINE"] == "django.db.backends.sqlite3":
        return {**_SQLITE, "NAME": parsed["NAME"]}
    if parsed["ENGINE"] != "django.db.backends.postgresql":
        raise ConfigurationError("SOMA_DATABASE_URL must begin with postgres:// or sqlite:///")
    parsed["OPTIONS"] = {
        **parsed.get("OPTIONS", {}),
        "connect_timeout": 5,
        # -c: a runaway statement or a forgotten lock ends by itself, before the client gives up.
        "options": "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
    }
    return {**parsed, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Cache: Redis by URL, or in process --------------------------------------------------------------------------

REDIS_URL = env.str("SOMA_REDIS_URL", "")
CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    }
}
if REDIS_URL:
    CACHES["default"] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "soma",
        "OPTIONS": {
            # Pickle would let whoever can write to Redis run code here.
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            "SOCKET_CONNECT_TIMEOUT": 0.5,
            "SOCKET_TIMEOUT": 0.5,
            "IGNORE_EXCEPTIONS": True,
        },
    }
    DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True
    # Every request waits for the limits, so they give up sooner; their errors decide what happens next.
    CACHES["limits"] = {
        **CACHES["default"],
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 0.05, "SOCKET_TIMEOUT": 0.05},
    }

# --- Vector index ------------------------------------------------------------------------------------------------

MILVUS_URI = env.str("SOMA_MILVUS_URI", str(DATA_DIR / "milvus.db"))
MILVUS_TOKEN = env.str("SOMA_MILVUS_TOKEN", "")
MILVUS_TIMEOUT_S = env.float("SOMA_MILVUS_TIMEOUT_S", 10.0)
# Who drains the outbox: `thread` (inside the server, the default for one machine) or `none` (somebody else does).
INDEXER = env.str("SOMA_INDEXER", "thread")

# --- Embeddings --------------------------------------------------------------------------------------------------

EMBEDDING_PROVIDER = env.str("SOMA_EMBEDDING_PROVIDER", "wordllama")
EMBEDDING_MODEL = env.str("SOMA_EMBEDDING_MODEL", "")
EMBEDDING_DIMENSION = _bounded("SOMA_EMBEDDING_DIMENSION", 0, 0, 8192)  # 0: what the model has
EMBEDDING_BASE_URL = env.str("SOMA_EMBEDDING_BASE_URL", "")
EMBEDDING_API_KEY = env.str("SOMA_EMBEDDING_API_KEY", "")
EMBEDDING_TIMEOUT_S = env.float("SOMA_EMBEDDING_TIMEOUT_S", 20.0)

# --- Limits; a rate or a concurrency of 0 is none ----------------------------------------------------------------

KEY_RATE = _bounded("SOMA_KEY_RATE", 100, 0, 1_000_000)  # tokens a second
KEY_BURST = _bounded("SOMA_KEY_BURST", 200, 1, 1_000_000)
TENANT_RATE = _bounded("SOMA_TENANT_RATE", 400, 0, 1_000_000)
TENANT_BURST = _bounded("SOMA_TENANT_BURST", 800, 1, 1_000_000)
TENANT_CONCURRENCY = _bounded("SOMA_TENANT_CONCURRENCY", 0, 0, 10_000)
# What a request of each kind takes, in tokens.
COSTS = {
    kind: _bounded(f"SOMA_COST_{kind.upper()}", tokens, 0, 1_000_000)
    for kind, tokens in {"read": 1, "write": 5, "search": 5, "llm": 50}.items()
}
# Refused keys, per client address.
AUTH_FAILURE_RATE = _bounded("SOMA_AUTH_FAILURE_RATE", 1, 0, 1_000_000)
AUTH_FAILURE_BURST = _bounded("SOMA_AUTH_FAILURE_BURST", 20, 1, 1_000_000)

# --- The edge ----------------------------------------------------------------------------------------------------

MAX_BODY_BYTES = 10 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
# A soft-deleted or expired memory can be restored for this long, then it is purged.
RETENTION_DAYS = _bounded("SOMA_RETENTION_DAYS", 30, 0, 36_500)
# A revoked key stops working within this time in every process.
KEY_CACHE_S = 5

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # no collectstatic step between a clone and a running server

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
SILENCED_SYSTEM_CHECKS = [
    "security.W003",  # no cookie authenticates anything here, so there is no request to forge
]

LOG_LEVEL = env.str("SOMA_LOG_LEVEL", "INFO").upper()
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "somamemory.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "soma": {"level": LOG_LEVEL},
        "django": {"level": "WARNING"},
        # They log every failed call with a traceback; we say it once, in our own words.
        "pymilvus": {"level": "CRITICAL"},
        "milvus_lite": {"level": "CRITICAL"},
        # Our own request log says all of this once.
        "django.request": {"level": "CRITICAL"},
    },
}
