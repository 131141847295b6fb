"""Configuration: the only file that reads the environment.

Every setting is a `SOMA_…` variable with a default that works on one machine. docs/reference/configuration.md lists all
of them.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import environ

from somamemory import extras, files, installation
from somamemory.errors import ConfigurationError
from somamemory.web import client_address


class _Env(environ.Env):  # type: ignore[misc]
    """Records the variables that are read. Any other `SOMA_…` variable is a typo, which must not go unnoticed."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Any] = {}

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        self.known[var] = kwargs.get("default", args[1] if len(args) > 1 else None)
        return super().get_value(var, *args, **kwargs)


env = _Env()
CLIENT_VARIABLES = frozenset(("SOMA_API_KEY", "SOMA_PROFILE", "SOMA_TENANT", "SOMA_URL"))
installation.activate()
BASE_DIR = installation.HOME


def _data_dir() -> Path:
    """Return the data folder, and create it if it does not exist. Raises ConfigurationError if that is impossible."""
    try:
        path = Path(env.str("SOMA_DATA_DIR", "") or _default_data_dir()).expanduser().resolve()
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        raise ConfigurationError(
            f"the data folder could not be created: {error}; set SOMA_DATA_DIR to a folder that you can write to"
        ) from None
    return path


def _default_data_dir() -> Path:
    """Return `var` in a checkout; for an installed package, the user's data folder (XDG Base Directory)."""
    if not installation.IS_BUNDLED:
        return BASE_DIR / "var"
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "somamemory"


def _secret_key() -> str:
    """Return `SOMA_SECRET_KEY`, or a key that is generated on the first start and stored in the data folder."""
    if given := env.str("SOMA_SECRET_KEY", ""):
        if len(given) < 32:
            raise ConfigurationError(
                "SOMA_SECRET_KEY must contain at least 32 characters; create it with 'openssl rand -hex 32'. If "
                "the current key signs the audit log, set SOMA_AUDIT_KEY to the current key"
            )
        return str(given)
    file = DATA_DIR / "secret-key"
    if _MAKES_AUDIT_KEY and not os.path.exists(file):  # unlike Path.exists, False if the folder cannot be read
        # The audit key is stored first: a secret key without an audit key is therefore from an earlier version.
        _made_key(DATA_DIR / "audit-key", secrets.token_urlsafe(50))
    return _made_key(file, secrets.token_urlsafe(50))


def _made_key(path: Path, content: str) -> str:
    """Return the key stored in a file. If there is none, store `content` as the key.

    Raises ConfigurationError if the file cannot be read or created, or is damaged.
    """
    try:
        key = _stored_key(path, content)
    except OSError as error:
        raise ConfigurationError(
            f"could not read or create the key file {path}: {error}; run this command as the owner of the data folder, "
            "or set SOMA_DATA_DIR to a folder that you can write to"
        ) from None
    except UnicodeDecodeError:
        key = ""
    if len(key) < 32:
        raise ConfigurationError(
            f"the key file {path} is damaged: it does not contain a key of at least 32 characters; restore it "
            "from a copy, or remove it so that another key is generated"
        )
    return key


def _stored_key(path: Path, content: str) -> str:
    """Return the key in a file, or store `content` if the file has no key.

    Several processes may start with the same folder at once. The first one holds a lock while it writes the key.
    """
    if path.is_file() and (stored := path.read_text().strip()):
        return stored
    with os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if stored := file.read().strip():
            return stored
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # the database is durable, so the key that signs its audit log must be as well
    files.sync(path.parent)
    return content


def _audit_key_file() -> Path | None:
    """Return the file with the key that signs the audit log, or None if an environment variable contains the key."""
    given, file = env.str("SOMA_AUDIT_KEY", ""), env.str("SOMA_AUDIT_KEY_FILE", "")
    if given and file:
        raise ConfigurationError("SOMA_AUDIT_KEY and SOMA_AUDIT_KEY_FILE are both set; remove one of them")
    if file:
        return Path(file).expanduser()
    return DATA_DIR / "audit-key" if _MAKES_AUDIT_KEY else None


def _audit_key() -> str:
    """Return the key that signs the audit log.

    By default, it is the secret key or, if SomaMemory generates its own keys, a separate key.
    """
    if AUDIT_KEY_FILE is None:
        return env.str("SOMA_AUDIT_KEY", "") or SECRET_KEY
    if _MAKES_AUDIT_KEY:
        return _made_key(AUDIT_KEY_FILE, SECRET_KEY)  # earlier versions signed the log with the secret key
    try:
        key = AUDIT_KEY_FILE.read_text().strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"SOMA_AUDIT_KEY_FILE: could not read {AUDIT_KEY_FILE}: {error}") from None
    if len(key) < 32:
        raise ConfigurationError(
            f"SOMA_AUDIT_KEY_FILE: {AUDIT_KEY_FILE} must contain at least 32 characters; create it with "
            "'openssl rand -hex 32'"
        )
    return key


def _flag(name: str, default: bool) -> bool:
    value = env.str(name, str(default))
    if value.strip().lower() in ("true", "yes", "y", "on", "ok", "1"):
        return True
    if value.strip().lower() in ("false", "no", "n", "off", "0"):
        return False
    raise ConfigurationError(f"{name} must be true or false, not '{value}'")


def _bounded(name: str, default: int, low: int, high: int) -> int:
    try:
        value = int(env.int(name, default))
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number") from None
    if not low <= value <= high:
        raise ConfigurationError(f"{name} must be between {low} and {high}, not {value}")
    return value


def _number(name: str, default: float, low: float, high: float) -> float:
    try:
        value = float(env.str(name, str(default)))
    except ValueError:
        raise ConfigurationError(f"{name} must be a number") from None
    if not low <= value <= high:
        raise ConfigurationError(f"{name} must be between {low:g} and {high:g}, not {value:g}")
    return value


def _share(name: str, default: float) -> float:
    return _number(name, default, 0, 1)


def _split(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises an error if it is not a number
    except ValueError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    return parts


def _list(name: str, default: Sequence[str] = ()) -> list[str]:
    return [part.strip() for part in env.list(name, default=list(default)) if part.strip()]


def _hosts(name: str, default: Sequence[str]) -> list[str]:
    """Return host names. Raises ConfigurationError for a URL or a port, which would never match a request's host."""
    host = r"\.?[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\]"
    hosts = _list(name, default)
    for given in hosts:
        if given == "*" or re.fullmatch(host, given, re.IGNORECASE):
            continue
        inner = re.fullmatch(rf"(?:\w+://)?\*?({host})(?::\d+)?(?:/.*)?", given, re.IGNORECASE)
        remedy = f"write {inner[1]} instead of {given}" if inner else f"{given} is not one"
        raise ConfigurationError(f"{name} must contain only host names such as memory.example.org; {remedy}")
    return hosts


def _origins(name: str, subdomains: str = "") -> list[str]:
    """Return origins as browsers send them: in lower case, and without a slash at the end.

    subdomains: a pattern for what may precede the host.
    """
    origins = [origin.lower() for origin in _list(name)]
    for origin in origins:
        if not re.fullmatch(rf"null|file://|[a-z][a-z0-9+.-]*://{subdomains}[^\s/?#@*]+/?", origin):
            raise ConfigurationError(
                f"{name} must contain only origins without a path, such as https://app.example.org, not {origin}"
            )
    return [origin if origin == "file://" else origin.removesuffix("/") for origin in origins]


def _networks(name: str, default: Sequence[str] = ()) -> tuple[client_address.Network, ...]:
    try:
        return client_address.networks(_list(name, default))
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None


def _endpoint(name: str, example: str) -> str:
    url = str(env.str(name, ""))
    if url and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url, re.IGNORECASE):
        raise ConfigurationError(f"{name} must be a URL such as {example}")
    return url


def _origin(name: str) -> str:
    """Return the setting, which must be a URL without a path. Plain HTTP is allowed only on the loopback interface."""
    url = str(env.str(name, "")).rstrip("/")
    parts = _split(name, url)
    is_local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if url and (not (parts.scheme == "https" or is_local) or url != f"{parts.scheme}://{parts.netloc}" or "@" in url):
        raise ConfigurationError(f"{name} must be an https URL without a path, such as https://memory.example.org")
    return url.lower()


def _pairs(name: str) -> dict[str, str]:
    """Parse `name=value,other=value`. The error does not repeat the text, because a value may be a secret."""
    pairs = [pair.partition("=") for pair in _list(name)]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        raise ConfigurationError(f"{name} must have the form name=value,other=value")
    return {key.strip(): value.strip() for key, _, value in pairs}


def unknown_variables() -> list[str]:
    """Return the unknown `SOMA_…` variables in the environment.

    Variables for tests (SOMA_TEST_…), for the clients and for the command line are not reported.
    """
    ours = {name for name in os.environ if name.startswith("SOMA_") and not name.startswith("SOMA_TEST_")}
    return sorted(ours - env.known.keys() - CLIENT_VARIABLES)


def known_variables() -> dict[str, Any]:
    """Return each variable with its default."""
    return dict(env.known)


DATA_DIR = _data_dir()
SECRET_KEY_IS_MADE = not env.str("SOMA_SECRET_KEY", "")
_MAKES_AUDIT_KEY = SECRET_KEY_IS_MADE and not (env.str("SOMA_AUDIT_KEY", "") or env.str("SOMA_AUDIT_KEY_FILE", ""))
SECRET_KEY = _secret_key()
DEBUG = _flag("SOMA_DEBUG", False)
HOST = env.str("SOMA_HOST", "127.0.0.1").removeprefix("[").removesuffix("]")  # an IPv6 address can be in brackets
# DNS rebinding: an attacker can point a web page's host name to 127.0.0.1. The page can then read everything that needs
# no key, such as /metrics. On the loopback interface, other names must therefore be listed. Probes always use the local
# names.
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = LOCAL_HOSTS + _hosts("SOMA_ALLOWED_HOSTS", client_address.default_hosts(HOST))
PORT = _bounded("SOMA_PORT", 9595, 1, 65535)
THREADS = _bounded("SOMA_THREADS", 8, 1, 256)
BOOTSTRAP_KEY = env.str("SOMA_BOOTSTRAP_KEY", "")
MAX_REQUESTS = _bounded("SOMA_MAX_REQUESTS", 0, 0, 100_000_000)
# A web process that does not report for this long is killed and replaced. Requests can take longer than this.
WORKER_TIMEOUT_S = _bounded("SOMA_WORKER_TIMEOUT_S", 120, 10, 3600)
# A request that takes longer is cancelled together with its database statement. Imports, exports, tenant
# erasures and requests to a language model have the longer deadline.
REQUEST_DEADLINE_S = _bounded("SOMA_REQUEST_DEADLINE_S", 30, 1, 3600)
LONG_REQUEST_DEADLINE_S = _bounded("SOMA_LONG_REQUEST_DEADLINE_S", 600, 1, 86_400)
# How long a client may take to send the head of a request. For bodies and responses, it has more time, depending on
# their size.
CLIENT_TIMEOUT_S = _bounded("SOMA_CLIENT_TIMEOUT_S", 15, 1, 600)
# How long a stopping server waits for running requests.
STOP_TIMEOUT_S = _bounded("SOMA_STOP_TIMEOUT_S", 4, 1, 600)

INSTALLED_APPS = [
    "console",  # must precede unfold, whose Alpine it replaces
    "unfold.apps.BasicAppConfig",  # must precede the admin, whose templates it replaces
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ninja",  # for its docs pages, which are served from the package
    "tenants",
    "memories",
    "graph",
    "conversations",
    "operations",
    "somamemory",
]
MIDDLEWARE = [
    "somamemory.web.request_context.RequestContext",
    "somamemory.web.middleware.Compression",
    "somamemory.web.problems.Problems",
    "somamemory.web.middleware.RootAliases",
    "whitenoise.middleware.WhiteNoiseMiddleware",
]
# The admin console under /admin/. Its tables always exist, but without the console, nobody can sign in.
ADMIN = _flag("SOMA_ADMIN", True)
if ADMIN:
    MIDDLEWARE.insert(-1, "somamemory.web.console_middleware.ConsoleMiddleware")
# Serve SomaFractalMemory's API at the root. Our own API remains under /api/v1.
COMPAT_SOMAFRACTALMEMORY = _flag("SOMA_COMPAT_SOMAFRACTALMEMORY", False)
if COMPAT_SOMAFRACTALMEMORY:
    MIDDLEWARE.remove("somamemory.web.middleware.RootAliases")
# If a request with an operator key names a nonexistent tenant in X-Tenant or X-Soma-Tenant, create that tenant.
CREATE_TENANTS = _flag("SOMA_CREATE_TENANTS", False)
# OAuth for assistants that run in the cloud. Setting this server's public URL turns it on.
OAUTH_URL = _origin("SOMA_OAUTH_URL")
if OAUTH_URL:
    extras.require("mcp", "SOMA_OAUTH_URL")
    ALLOWED_HOSTS.append(str(urlsplit(OAUTH_URL).hostname))
if OAUTH_URL and not ADMIN:
    raise ConfigurationError("SOMA_OAUTH_URL requires the admin console, where users sign in; remove SOMA_ADMIN=false")
# Origins whose web pages may call the API. Such a page must send an API key; the API accepts no cookies.
CORS_ALLOWED_ORIGINS = _origins("SOMA_CORS_ORIGINS")
CORS_ALLOW_HEADERS = [
    "accept", "authorization", "content-type", "idempotency-key", "if-match", "if-none-match",
    "x-api-key", "x-request-id", "x-soma-tenant", "x-tenant",
]  # fmt: skip
CORS_EXPOSE_HEADERS = [
    "etag", "idempotent-replayed", "location", "ratelimit", "ratelimit-policy", "retry-after",
    "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-request-id",
]  # fmt: skip
if CORS_ALLOWED_ORIGINS:
    INSTALLED_APPS.append("corsheaders")
    # Must come before every middleware that may respond. Without these headers, a page cannot read an error.
    MIDDLEWARE.insert(1, "corsheaders.middleware.CorsMiddleware")
ROOT_URLCONF = "somamemory.urls"
WSGI_APPLICATION = "somamemory.wsgi.application"
APPEND_SLASH = False
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Database: PostgreSQL by URL, or SQLite in the data folder ---------------------------------------------------

DATABASE_URL = env.str("SOMA_DATABASE_URL", "")
_SQLITE = {
    "CONN_MAX_AGE": None,  # opening a connection costs 0.6 ms
    "ENGINE": "somamemory.db.sqlite",
    "NAME": DATA_DIR / "somamemory.sqlite3",
    "TEST": {"NAME": DATA_DIR / "test.sqlite3"},  # a file, so that threads and WAL behave as in production
    "OPTIONS": {
        # A write transaction takes its lock at the start and waits for others, so it cannot fail halfway (SQLITE_BUSY).
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        # Each connection keeps this many compiled statements (20 KB each), and most requests use the same 60.
        "cached_statements": 64,
        # FULL: a commit survives a power failure. NORMAL does not guarantee this in WAL mode.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-4096;"
            "PRAGMA secure_delete=ON;"  # deleted data is overwritten
            "PRAGMA mmap_size=268435456; PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=67108864;"
        ),
    },
}


CONNECT_TIMEOUT_S = _bounded("SOMA_DATABASE_CONNECT_TIMEOUT_S", 3, 2, 60)
STATEMENT_TIMEOUT_S = _bounded("SOMA_DATABASE_STATEMENT_TIMEOUT_S", 30, 1, 3600)
LOCK_TIMEOUT_S = _bounded("SOMA_DATABASE_LOCK_TIMEOUT_S", 10, 1, 3600)
# Must be False behind a pooler that gives each transaction a different connection (PgBouncer before 1.21).
PREPARE_STATEMENTS = _flag("SOMA_DATABASE_PREPARE", True)
# PostgreSQL hides other tenants' rows from each request: see `tenants.row_level_security`.
ROW_LEVEL_SECURITY = _flag("SOMA_ROW_LEVEL_SECURITY", False)


def _postgresql(parsed: dict[str, Any]) -> dict[str, Any]:
    extras.require("postgres", "SOMA_DATABASE_URL")
    from somamemory.db.postgresql.base import Cursor

    timeouts = {
        # End a runaway statement, a long wait for a lock, or a forgotten transaction before the client gives up.
        "statement_timeout": STATEMENT_TIMEOUT_S,
        "lock_timeout": LOCK_TIMEOUT_S,
        "idle_in_transaction_session_timeout": 60,
    }
    options = {
        **parsed.get("OPTIONS", {}),
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": " ".join(f"-c {name}={seconds}s" for name, seconds in timeouts.items()),
        # Detect within 20 seconds, instead of two hours, that a server has silently disappeared.
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "server_side_binding": True,
        "cursor_factory": Cursor,
        "prepare_threshold": 2 if PREPARE_STATEMENTS else None,  # from the third execution on
    }
    return {
        **parsed,
        "ENGINE": "somamemory.db.postgresql",
        "OPTIONS": options,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": not PREPARE_STATEMENTS,
    }


def database(url: str) -> dict[str, Any]:
    """Return Django's settings for the database at a URL. Without a URL, use SQLite in the data folder."""
    if not url:
        return _SQLITE
    if not re.match(r"(?:postgres|postgresql|pgsql|sqlite)://", url):
        raise ConfigurationError("a database URL must begin with postgres:// or sqlite:///")
    try:
        parsed: dict[str, Any] = env.db_url_config(url)
    except ValueError as error:
        raise ConfigurationError(f"the database URL is not valid: {error}") from None
    if parsed["ENGINE"] == "django.db.backends.sqlite3":
        if parsed["NAME"] == ":memory:":  # each thread would have its own database
            raise ConfigurationError("a database URL for SQLite must name a file: sqlite:////var/lib/soma/db.sqlite3")
        return {**_SQLITE, "NAME": parsed["NAME"]}
    if parsed["ENGINE"] == "django.db.backends.postgresql":
        return _postgresql(parsed)
    raise ConfigurationError("a database URL must begin with postgres:// or sqlite:///")


DATABASES = {"default": database(DATABASE_URL)}
_ON_POSTGRESQL = DATABASES["default"]["ENGINE"] == "somamemory.db.postgresql"

# PostgreSQL streaming replicas. `somamemory.db.replicas` decides which reads use them.
REPLICA_URLS = _list("SOMA_DATABASE_REPLICA_URLS")
READ_WEIGHT = _share("SOMA_READ_WEIGHT", 0.8)
# After a write, the caller reads from the primary for this long. Must be longer than the replicas' lag.
READ_OWN_WRITES_S = _bounded("SOMA_READ_OWN_WRITES_S", 5, 1, 3600)
REPLICAS = [f"replica{number}" for number in range(1, len(REPLICA_URLS) + 1)]
for _alias, _url in zip(REPLICAS, REPLICA_URLS, strict=True):
    DATABASES[_alias] = {**database(_url), "TEST": {"MIRROR": "default"}}
if REPLICAS:
    DATABASE_ROUTERS = ["somamemory.db.replicas.Router"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Cache: Redis by URL, or in process --------------------------------------------------------------------------

REDIS_URL = env.str("SOMA_REDIS_URL", "")


def caches_in(redis_url: str, wait_s: float = 0.5, wait_for_limits_s: float = 0.05) -> dict[str, dict[str, Any]]:
    """Return Django's settings for caches in Redis or, without a URL, in this process.

    No call to Redis waits longer than the given number of seconds.
    """
    if not redis_url:
        backend = "django.core.cache.backends.locmem.LocMemCache"
        return {"default": {"BACKEND": backend, "OPTIONS": {"MAX_ENTRIES": 20_000}}}
    extras.require("redis", "SOMA_REDIS_URL")
    if _split("SOMA_REDIS_URL", redis_url).scheme not in ("redis", "rediss", "unix"):
        raise ConfigurationError("SOMA_REDIS_URL must begin with redis://, rediss:// or unix://")

    def waiting(seconds: float) -> dict[str, Any]:
        # The timeouts are part of the URL, because django-redis keeps one connection pool per URL, with the options of
        # the first cache that uses the URL.
        mark = "&" if "?" in redis_url else "?"
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"{redis_url}{mark}socket_connect_timeout={seconds}&socket_timeout={seconds}",
            "KEY_PREFIX": "soma",
            "OPTIONS": {
                # With pickle, anyone who can write to Redis could run code here.
                "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
                # somamemory/caching.py continues without Redis and must notice that it is down. Make only one attempt,
                # because redis-py's default of four attempts takes 4.5 s if the port is closed.
                "IGNORE_EXCEPTIONS": False,
                "CONNECTION_POOL_KWARGS": {"retry": None, "max_connections": 1_000},
            },
        }

    # Every request waits for the rate limits, so their timeout is shorter. The limiter handles errors itself.
    return {"default": waiting(wait_s), "limits": waiting(wait_for_limits_s)}


CACHES = caches_in(REDIS_URL)

# --- Search ------------------------------------------------------------------------------------------------------

# Namespaces whose coordinates do not form a sequence, so that adjacent memories are not evidence for each other. The
# namespaces under them are included.
SEARCH_WITHOUT_NEIGHBOURS = _list("SOMA_SEARCH_WITHOUT_NEIGHBOURS")

# --- Vector index ------------------------------------------------------------------------------------------------

MILVUS_URI = env.str("SOMA_MILVUS_URI", "")
if MILVUS_URI.endswith(".db"):
    raise ConfigurationError(
        f"SOMA_MILVUS_URI={MILVUS_URI} refers to Milvus Lite, which is no longer supported; remove the setting: "
        "the server rebuilds its index from the database, and the old folder can be deleted"
    )
# Where the vectors are stored and searched: files shared by the processes on this machine, PostgreSQL, or a Milvus
# server.
VECTOR_INDEX = env.str("SOMA_VECTOR_INDEX", "milvus" if MILVUS_URI else "local")
if VECTOR_INDEX not in ("local", "pgvector", "milvus"):
    raise ConfigurationError(f"SOMA_VECTOR_INDEX must be local, pgvector or milvus, not '{VECTOR_INDEX}'")
if VECTOR_INDEX == "milvus" and not MILVUS_URI:
    raise ConfigurationError("SOMA_MILVUS_URI is required when SOMA_VECTOR_INDEX is 'milvus'")
VECTOR_FOLDER = DATA_DIR / "vectors"
MILVUS_TOKEN = env.str("SOMA_MILVUS_TOKEN", "")
MILVUS_CA = env.str("SOMA_MILVUS_CA", "")  # a file; without it, the machine's certificates are trusted
MILVUS_TIMEOUT_S = _number("SOMA_MILVUS_TIMEOUT_S", 10.0, 0.01, 3600)
MILVUS_SEARCH_TIMEOUT_S = _number("SOMA_MILVUS_SEARCH_TIMEOUT_S", 2.0, 0.01, 3600)
# Installations that share a Milvus database need different prefixes: an installation treats a collection that has its
# prefix, but is unknown to its own database, as an orphan.
MILVUS_PREFIX = env.str("SOMA_MILVUS_PREFIX", "memories")
MILVUS_HNSW_M = _bounded("SOMA_MILVUS_HNSW_M", 16, 4, 64)
MILVUS_HNSW_EF_CONSTRUCTION = _bounded("SOMA_MILVUS_HNSW_EF_CONSTRUCTION", 200, 8, 512)
MILVUS_HNSW_EF = _bounded("SOMA_MILVUS_HNSW_EF", 400, 8, 32_768)
# The number of web processes. Without Redis, each of them enforces its share of the limits.
WORKERS = _bounded("SOMA_WORKERS", 2 if _ON_POSTGRESQL else 1, 1, 1024)
# Every process notices within this time that another embedding generation has become active.
GENERATION_CACHE_S = 5
# Backpressure: a tenant's writes are rejected while more than this many of its memories await indexing.
MAX_BACKLOG = _bounded("SOMA_MAX_BACKLOG", 100_000, 1, 100_000_000)

# --- Jobs: a thread of the server, or Celery ---------------------------------------------------------------------

# A second Redis server with `maxmemory-policy noeviction`: a cache may evict entries, but a queue must not.
BROKER_URL = env.str("SOMA_BROKER_URL", "")
if BROKER_URL:
    if "://" not in BROKER_URL:  # Celery would mistake it for the name of a RabbitMQ server
        raise ConfigurationError("SOMA_BROKER_URL must be a URL such as redis://host:6379/0")
    extras.require("worker", "SOMA_BROKER_URL")
# The process that drains the outbox: `thread` (the server), `celery` (workers), or `none` (another process).
INDEXER = env.str("SOMA_INDEXER", "celery" if BROKER_URL else "thread")
if INDEXER not in ("thread", "celery", "none"):
    raise ConfigurationError(f"SOMA_INDEXER must be thread, celery or none, not '{INDEXER}'")
if INDEXER == "celery" and not BROKER_URL:
    raise ConfigurationError(
        "SOMA_BROKER_URL is required when SOMA_INDEXER is 'celery'; set it to the URL of the job queue"
    )
# Much longer than the combined deadlines of one batch (embedder and index), so that a live drain never loses its lease.
# Rows leased by a killed drain wait for this long.
INDEX_LEASE_S = _bounded("SOMA_INDEX_LEASE_S", 60, 2, 3600)
DRAIN_INTERVAL_S = _bounded("SOMA_DRAIN_INTERVAL_S", 3, 1, 3600)  # the delay after a lost notification
DRAIN_LIMIT_S = 60  # after this time, a drain lets other jobs run; the next drain continues
ACCESS_INTERVAL_S = _bounded("SOMA_ACCESS_INTERVAL_S", 10, 1, 3600)
PURGE_INTERVAL_S = 600
AUDIT_SEAL_INTERVAL_S = 15  # how often the audit log is sealed
SUMMARY_INTERVAL_S = _bounded("SOMA_SUMMARY_INTERVAL_S", 600, 0, 86_400)  # 0: only on demand
CHORE_INTERVAL_S = _bounded("SOMA_CHORE_INTERVAL_S", 10, 0, 86_400)  # 0: facts and automatic labels only by command

# --- Tiers: unused conversations leave the index, then the database -------------------------------------------------

# After ACTIVE_DAYS without use, an active conversation is archived. After ARCHIVED_DAYS without use, an archived one
# moves to a file. 0: never.
ACTIVE_DAYS = _bounded("SOMA_ACTIVE_DAYS", 0, 0, 36_500)
ARCHIVED_DAYS = _bounded("SOMA_ARCHIVED_DAYS", 0, 0, 36_500)
UPKEEP_INTERVAL_S = _bounded("SOMA_UPKEEP_INTERVAL_S", 3600, 0, 86_400)  # 0: only by command
UPKEEP_TICK_S = min(UPKEEP_INTERVAL_S, 120)  # how often the scheduler looks for a tenant that is due
# If empty, no conversation moves to cold storage. There is no default, because with PostgreSQL the data folder may
# belong to a temporary container, or be one of several. Only the operator knows where files are kept permanently.
COLD_STORAGE = env.str("SOMA_COLD_STORAGE", "") or ("" if _ON_POSTGRESQL else str(DATA_DIR / "cold"))
COLD_S3 = {
    "endpoint_url": _endpoint("SOMA_COLD_S3_ENDPOINT", "http://minio:9000") or None,
    "region_name": env.str("SOMA_COLD_S3_REGION", "") or None,
    # Without these, the machine's own credentials are used.
    "access_key": env.str("SOMA_COLD_S3_ACCESS_KEY", "") or None,
    "secret_key": env.str("SOMA_COLD_S3_SECRET_KEY", "") or None,
}


def cold_storage(where: str) -> dict[str, Any]:
    """Return Django's settings for cold storage in a folder, or in a bucket: `s3://bucket/prefix`."""
    if where.startswith("s3://"):
        bucket, _, prefix = where.removeprefix("s3://").partition("/")
        extras.require("s3", f"SOMA_COLD_STORAGE={where}")
        from botocore.config import Config

        if not bucket:
            raise ConfigurationError("SOMA_COLD_STORAGE must contain the name of a bucket: s3://bucket/prefix")
        config = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"})
        options = {"bucket_name": bucket, "location": prefix.strip("/"), "client_config": config, **COLD_S3}
        return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {**options, "file_overwrite": True}}
    if "://" in where:
        raise ConfigurationError("SOMA_COLD_STORAGE must be a folder or begin with s3://")
    folder = Path(where).expanduser().resolve()
    return {"BACKEND": "conversations.lifecycle.cold_storage.Folder", "OPTIONS": {"location": str(folder)}}


STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "cold": cold_storage(COLD_STORAGE or str(DATA_DIR / "cold")),
}


CELERY_BROKER_URL = BROKER_URL
# The schedule comes from `somamemory.scheduling`; see operations/tasks.py. It is kept in memory, so there is no file
# that could be unwritable, locked, or corrupted by kill -9. A restart resets every interval.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_TASK_DEFAULT_QUEUE = "soma"
# Acknowledge a message only after its task has run. If the worker is killed, the message is delivered again, so every
# task may run twice.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# End a task before the broker considers it lost and delivers it to another worker.
CELERY_TASK_SOFT_TIME_LIMIT = 270
CELERY_TASK_TIME_LIMIT = 300
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,  # detects a dead connection
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_STORE_ERRORS_EVEN_IF_IGNORED = False
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # no limit
CELERY_BROKER_CONNECTION_TIMEOUT = 2
# A drain that loses its broker continues, because it needs only the database and the index.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_CONCURRENCY = _bounded("SOMA_WORKER_CONCURRENCY", 1, 1, 64)
# Frees memory that libraries leak.
CELERY_WORKER_MAX_TASKS_PER_CHILD = 10_000
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_TIMEZONE = "UTC"

# --- Embeddings --------------------------------------------------------------------------------------------------

EMBEDDING_PROVIDER = env.str("SOMA_EMBEDDING_PROVIDER", "wordllama")
# Whether reads and searches are CPU-bound and wait for no other service. If so, they take turns (`web.turns`).
TAKES_TURNS = not _ON_POSTGRESQL and VECTOR_INDEX == "local" and EMBEDDING_PROVIDER != "openai"
EMBEDDING_MODEL = env.str("SOMA_EMBEDDING_MODEL", "")
EMBEDDING_DIMENSION = _bounded("SOMA_EMBEDDING_DIMENSION", 0, 0, 8192)  # 0: the model's dimension
EMBEDDING_BASE_URL = _endpoint("SOMA_EMBEDDING_BASE_URL", "http://127.0.0.1:11434/v1")
EMBEDDING_API_KEY = env.str("SOMA_EMBEDDING_API_KEY", "")
EMBEDDING_TIMEOUT_S = _number("SOMA_EMBEDDING_TIMEOUT_S", 20.0, 0.01, 3600)

# --- Language models ---------------------------------------------------------------------------------------------

# `offline` means no model: summaries, labels and importance are computed without one.
LLM_PROVIDER = env.str("SOMA_LLM_PROVIDER", "offline")
LLM_MODEL = env.str("SOMA_LLM_MODEL", "")
LLM_BASE_URL = _endpoint("SOMA_LLM_BASE_URL", "http://127.0.0.1:11434/v1")
LLM_API_KEY = env.str("SOMA_LLM_API_KEY", "")
LLM_TIMEOUT_S = float(_bounded("SOMA_LLM_TIMEOUT_S", 45, 1, 600))  # for one prompt, including all attempts
# For tenants without their own budget. 0: no limit.
LLM_MONTHLY_TOKENS = _bounded("SOMA_LLM_MONTHLY_TOKENS", 0, 0, 10**12)
LLM_MONTHLY_CENTS = _bounded("SOMA_LLM_MONTHLY_CENTS", 0, 0, 10**12)
LLM_PRICE_INPUT = _number("SOMA_LLM_PRICE_INPUT", 0, 0, 100_000)  # dollars per million tokens
LLM_PRICE_OUTPUT = _number("SOMA_LLM_PRICE_OUTPUT", 0, 0, 100_000)
if LLM_PROVIDER not in ("offline", "openai", "anthropic"):
    raise ConfigurationError(f"SOMA_LLM_PROVIDER must be offline, openai or anthropic, not '{LLM_PROVIDER}'")
if LLM_PROVIDER != "offline" and not LLM_MODEL:
    raise ConfigurationError(
        f"SOMA_LLM_MODEL is required when SOMA_LLM_PROVIDER is '{LLM_PROVIDER}'; set it to the name of a model"
    )

# --- Limits; 0 means no limit --------------------------------------------------------------------------------------

KEY_RATE = _bounded("SOMA_KEY_RATE", 5_000, 0, 1_000_000)  # tokens per second
KEY_BURST = _bounded("SOMA_KEY_BURST", 10_000, 1, 1_000_000)
TENANT_RATE = _bounded("SOMA_TENANT_RATE", 20_000, 0, 1_000_000)
TENANT_BURST = _bounded("SOMA_TENANT_BURST", 40_000, 1, 1_000_000)
TENANT_CONCURRENCY = _bounded("SOMA_TENANT_CONCURRENCY", 0, 0, 10_000)
# The cost of a request in tokens, by rate-limit class.
COSTS = {
    kind: _bounded(f"SOMA_COST_{kind.upper()}", tokens, 0, 1_000_000)
    for kind, tokens in {"read": 1, "write": 5, "search": 5, "llm": 50}.items()
}
# Limits for requests with invalid API keys, per client address.
AUTH_FAILURE_RATE = _bounded("SOMA_AUTH_FAILURE_RATE", 1, 0, 1_000_000)
AUTH_FAILURE_BURST = _bounded("SOMA_AUTH_FAILURE_BURST", 20, 1, 1_000_000)

# --- Context assembly: the weights of the components in a message's score; only the ratios matter --------------------

CONTEXT_RELEVANCE = _share("SOMA_CONTEXT_RELEVANCE", 0.7)
CONTEXT_IMPORTANCE = _share("SOMA_CONTEXT_IMPORTANCE", 0.1)
CONTEXT_RECENCY = _share("SOMA_CONTEXT_RECENCY", 0.1)
CONTEXT_LABEL = _share("SOMA_CONTEXT_LABEL", 0.1)
if not CONTEXT_RELEVANCE + CONTEXT_IMPORTANCE + CONTEXT_RECENCY + CONTEXT_LABEL:
    raise ConfigurationError(
        "at least one of SOMA_CONTEXT_RELEVANCE, SOMA_CONTEXT_IMPORTANCE, SOMA_CONTEXT_RECENCY and "
        "SOMA_CONTEXT_LABEL must be greater than 0"
    )
CONTEXT_HALF_LIFE_DAYS = _bounded("SOMA_CONTEXT_HALF_LIFE_DAYS", 7, 1, 36_500)
# The fraction of the token budget that is filled. The rest is reserved for the surrounding prompt.
CONTEXT_FILL = _share("SOMA_CONTEXT_FILL", 0.9)
CONTEXT_SUMMARIES = _share("SOMA_CONTEXT_SUMMARIES", 0.3)
# A message is a duplicate if a better message contains all of its words and the cosine similarity of their vectors is
# at least CONTEXT_DUPLICATE.
CONTEXT_DUPLICATE = _share("SOMA_CONTEXT_DUPLICATE", 0.95)
# --- Admin console ------------------------------------------------------------------------------------------------

# Sign-in attempts per minute, and the burst, per address. Each user name at an address has its own limit, with the
# same burst but a slower refill. Further attempts with the same name, from any address, are delayed. 0: no limit.
SIGN_IN_PER_MINUTE = _bounded("SOMA_SIGN_IN_PER_MINUTE", 10, 0, 10_000)
# Send cookies over HTTPS only; browsers make an exception for localhost. False also sends them over plain HTTP.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _flag("SOMA_ADMIN_SECURE_COOKIES", True)
# With this prefix, browsers accept the cookies over HTTPS only, so that none can be planted over plain HTTP.
_PREFIX = "__Secure-" if SESSION_COOKIE_SECURE else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_PREFIX}soma_session", f"{_PREFIX}soma_csrf"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = "/admin/"  # the API never receives them
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = _bounded("SOMA_ADMIN_SESSION_HOURS", 12, 1, 24 * 30) * 3600
# A session ends after this time without a request. 0: only after SOMA_ADMIN_SESSION_HOURS.
SESSION_IDLE_S = _bounded("SOMA_ADMIN_IDLE_MINUTES", 60, 0, 60 * 24 * 30) * 60
# Origins of the console behind a proxy that terminates TLS but does not send X-Forwarded-Proto, for example
# https://memory.example.org
CSRF_TRUSTED_ORIGINS = [*_origins("SOMA_ADMIN_ORIGINS", subdomains=r"(?:\*\.)?"), *([OAUTH_URL] if OAUTH_URL else [])]
CSRF_FAILURE_VIEW = "console.error_pages.csrf_failed"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "console.passwords.ContextWords"},
]
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # in the database, not in a cookie
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"
UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "SomaMemory",
    "SITE_HEADER": "SomaMemory",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "console.navigation.icon"}],
    "SITE_URL": None,
    "SHOW_HISTORY": False,  # Django's own history; the audit log is complete
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": ["console.navigation.style"],
    "SCRIPTS": [
        "console.navigation.script", "console.navigation.page_script", "console.navigation.keyboard_script",
    ],
    "ACCOUNT": {"navigation": "console.navigation.account"},
    "SIDEBAR": {"show_search": False, "navigation": "console.navigation.sidebar"},
    "COLORS": {
        "primary": {
            "50": "#eefbf8", "100": "#d4f4ec", "200": "#ace8da", "300": "#77d5c3", "400": "#43bba8", "500": "#27a08f",
            "600": "#198174", "700": "#18675e", "800": "#18524d", "900": "#184541", "950": "#072826",
        }
    },
}  # fmt: skip

# --- Proxies, metrics and traces ------------------------------------------------------------------------------------

# Networks or addresses of reverse proxies whose X-Forwarded-For is trusted.
TRUSTED_PROXIES = _networks("SOMA_TRUSTED_PROXIES")
MAX_BODY_BYTES = 10 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
# A page of a list ends early when its memories reach this many bytes; the response contains the position from which to
# continue.
MAX_RESPONSE_BYTES = _bounded("SOMA_MAX_RESPONSE_MIB", 16, 1, 1024) * 1024 * 1024
# Networks or addresses that may read /metrics. The alias adds a second name for each metric: with `sekha`, soma_… is
# also available as sekha_….
METRICS_ALLOW = _networks("SOMA_METRICS_ALLOW", ["127.0.0.0/8", "::1/128"])
# The port for a Celery worker's metrics. 0: none.
WORKER_METRICS_PORT = _bounded("SOMA_WORKER_METRICS_PORT", 0, 0, 65535)
# prometheus_client's own setting: a folder in which a server's processes keep their metrics. gunicorn.conf.py
# creates it for web workers. For Celery, it is created here, because none of our other code runs earlier.
if WORKER_METRICS_PORT and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = files.mapped_folder("somamemory-metrics-")
    atexit.register(shutil.rmtree, os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
METRICS_ARE_SHARED = "PROMETHEUS_MULTIPROC_DIR" in os.environ
METRICS_ALIAS = env.str("SOMA_METRICS_ALIAS", "")
if METRICS_ALIAS and not re.fullmatch(r"[a-z][a-z0-9]{0,31}", METRICS_ALIAS):
    raise ConfigurationError("SOMA_METRICS_ALIAS must be 1 to 32 characters long and contain only a-z and 0-9")
# The trace collector (OTLP over HTTP), for example `http://collector:4318/v1/traces`, and its headers. Empty: no
# traces.
TRACING_ENDPOINT = _endpoint("SOMA_TRACING_ENDPOINT", "http://collector:4318/v1/traces")
TRACING_HEADERS = _pairs("SOMA_TRACING_HEADERS")
TRACING_SERVICE = env.str("SOMA_TRACING_SERVICE", "somamemory")
TRACING_SHARE = _share("SOMA_TRACING_SHARE", 1.0)  # the fraction of requests and jobs that are traced
if TRACING_ENDPOINT:
    MIDDLEWARE.insert(0, "somamemory.web.middleware.Tracing")
# SQL statements that take longer are logged without their parameters. 0: none.
SLOW_QUERY_MS = _bounded("SOMA_SLOW_QUERY_MS", 500, 0, 3_600_000)
# A soft-deleted memory can be restored for this long. Then it is purged, like an expired memory.
RETENTION_DAYS = _bounded("SOMA_RETENTION_DAYS", 30, 0, 36_500)
# An earlier version of a memory is kept for this many days after it was replaced; 0: until the next purge. A tenant can
# override this number.
HISTORY_DAYS = _bounded("SOMA_HISTORY_DAYS", 365, 0, 36_500)
# The audit log is kept for this many days; 0 means forever. Its chain is signed with a key that must remain valid when
# SOMA_SECRET_KEY changes.
AUDIT_RETENTION_DAYS = _bounded("SOMA_AUDIT_RETENTION_DAYS", 0, 0, 36_500)
AUDIT_KEY_FILE = _audit_key_file()
AUDIT_KEY = _audit_key()
# Where the heads of the audit chains are published: a file, syslog://host:514, syslog:///dev/log, or an http(s) URL.
AUDIT_HEADS = env.str("SOMA_AUDIT_HEADS", "")
if "://" in AUDIT_HEADS and not AUDIT_HEADS.startswith(("syslog://", "http://", "https://")):
    raise ConfigurationError("SOMA_AUDIT_HEADS must be a file, or start with syslog://, https:// or http://")
# All processes begin to reject a revoked key within this time.
KEY_CACHE_S = 5

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # a clone can serve files without collectstatic

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = "console.formats"
SILENCED_SYSTEM_CHECKS = [
    "security.W003",  # the API accepts no cookies, so requests cannot be forged; each admin page does its own check
    # The middleware that the admin's checks require is inside `somamemory.web.console_middleware.ConsoleMiddleware`.
    "security.W001",
    "security.W002",
    "admin.E408",
    "admin.E409",
    "admin.E410",
]

LOG_LEVEL = env.str("SOMA_LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in logging.getLevelNamesMapping():
    raise ConfigurationError(f"SOMA_LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not '{LOG_LEVEL}'")
LOGGING_CONFIG = "somamemory.telemetry.logs.configure"
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "somamemory.telemetry.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "soma": {"level": LOG_LEVEL},
        "django": {"level": "WARNING"},
        # These libraries log every failed call with a traceback; we log the failure once.
        "pymilvus": {"level": "CRITICAL"},
        "opentelemetry": {"level": "CRITICAL"},
        # Our own request log contains the same information.
        "django.request": {"level": "CRITICAL"},
    },
}
