"""Optional dependencies, and the message that explains how to install them."""

from __future__ import annotations

import importlib.util

from somamemory import installation
from somamemory.errors import ConfigurationError

# The modules that each extra installs.
_MODULES = {
    "mcp": ("django_mcpz",),
    "milvus": ("pymilvus",),
    "onnx": ("onnxruntime",),
    "openai": ("openai",),
    "postgres": ("psycopg",),
    "redis": ("django_redis", "redis"),
    "s3": ("storages.backends.s3", "botocore"),
    "tracing": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "worker": ("celery", "redis"),
}
EXTRAS = tuple(_MODULES)
# Extras with their own lock file in a checkout. All others are in requirements/base.txt.
_LOCKED_ALONE = ("milvus", "onnx", "s3", "tracing")


def is_installed(extra: str) -> bool:
    try:
        return all(importlib.util.find_spec(module) for module in _MODULES[extra])
    except ModuleNotFoundError:  # the package that contains the module is missing
        return False
    except ValueError:  # a module without a spec, such as one created by a test
        return False


def missing(extra: str, setting: str) -> str:
    """Return the message for a setting that needs a missing extra. It names the command that installs the extra."""
    if installation.IS_BUNDLED:
        command = f"pip install 'somamemory[{extra}]'"
    else:
        lock = extra if extra in _LOCKED_ALONE else "base"
        command = f"pip install --require-hashes -r requirements/{lock}.txt"
    return f"{setting} requires the '{extra}' extra, which is not installed; run {command}"


def require(extra: str, setting: str) -> None:
    """Raise ConfigurationError if an extra that a setting needs is not installed."""
    if not is_installed(extra):
        raise ConfigurationError(missing(extra, setting))
