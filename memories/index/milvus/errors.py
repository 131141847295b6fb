"""Translate Milvus errors into SomaMemory errors, with the original exception as their cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from somamemory import extras
from somamemory.errors import ConfigurationError, IndexUnavailable

NOT_FOUND = 100
NOT_LOADED = 101
# The error codes that a server returns during a restart: not ready, unavailable, too many requests, rate limit; no
# replica, no channel, no node.
TRANSIENT = frozenset({1, 2, 4, 8, 401, 503, 901, 902, 903})


@contextmanager
def translating_errors(action: str) -> Iterator[None]:
    """Raise IndexUnavailable instead of any Milvus error, and ConfigurationError if pymilvus is not installed."""
    try:
        import grpc  # type: ignore[import-untyped]
        from pymilvus import MilvusException
    except ImportError as error:
        raise ConfigurationError(extras.missing("milvus", "SOMA_MILVUS_URI")) from error
    try:
        yield
    except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
        raise IndexUnavailable(f"the vector index failed to {action}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return an error's reason as a single line, without the connection traces that follow it in a gRPC message."""
    details = getattr(error, "details", None)  # a grpc.RpcError has this method instead of a message
    text = details() if details else getattr(error, "message", "")
    return (text or str(error) or type(error).__name__).splitlines()[0][:300]


def code_of(error: IndexUnavailable) -> object:
    """Return the code of the original error: a Milvus error number or a gRPC status."""
    code = getattr(error.__cause__, "code", None)
    return code() if callable(code) else code


def is_transient(error: IndexUnavailable) -> bool:
    import grpc

    code = code_of(error)
    silent = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNKNOWN}
    return code in TRANSIENT or code in silent or isinstance(error.__cause__, grpc.FutureTimeoutError)


def may_succeed_again(error: BaseException) -> bool:
    return isinstance(error, IndexUnavailable) and (code_of(error) == NOT_LOADED or is_transient(error))
