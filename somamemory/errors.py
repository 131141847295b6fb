"""Every error that the API returns, rendered by `somamemory.web.problems` as problem+json (RFC 9457).

SomaError
├── InvalidInput (422)          one or more fields are invalid; `fields` names them
│   └── DimensionMismatch       a vector's length differs from that of the active generation
├── InvalidCoordinate (400)
├── MalformedRequest (400)      a header or the encoding of the body is invalid
│   └── HostNotAllowed          the Host header is not in SOMA_ALLOWED_HOSTS
├── LengthRequired (411)        the body is chunked or has another transfer coding
├── Unauthenticated (401)
├── Forbidden (403)             the key is valid but lacks a permission
├── QuotaExceeded (403)         the quota of memories, bytes or keys is exceeded
├── NotFound (404)
├── MethodNotAllowed (405)
├── Conflict (409)
│   ├── StillRunning            the first request with this Idempotency-Key is still running
│   ├── LlmMissing              the request needs a language model, and none is configured
│   └── ConversationIsCold      the messages are in cold storage and were not restored in time
├── HistoryGone (410)           earlier versions are no longer kept; the message says when the history begins
├── PreconditionFailed (412)    the condition in If-Match or If-None-Match was not met
├── PayloadTooLarge (413)
├── UnsupportedMediaType (415)
├── BudgetExceeded (422)        the request needs too much work
│   ├── RowBudgetExceeded
│   └── VectorBudgetExceeded
├── KeyReused (422)             an Idempotency-Key was sent with a different request
├── RateLimited (429)           `retry_after_s` says when to retry
│   └── RequestQuotaExceeded    the tenant has used up today's requests
├── IndexBacklog (429)          too many of the tenant's memories await indexing
├── LlmBudgetExceeded (429)     the tenant's language model budget is used up
└── Unavailable (503)           `retry_after_s` says when to retry
    ├── DatabaseBusy
    ├── DeadlineExceeded        the request took longer than its deadline
    ├── EmbedderUnavailable
    │   └── EmbedderRefused     the provider rejects this text permanently
    ├── IndexUnavailable
    ├── ColdUnavailable         cold storage cannot be used
    │   └── ColdFileDamaged     a file is missing or damaged
    └── LlmUnavailable
        ├── LlmRefused          the provider rejects this prompt permanently
        └── LlmAnswerInvalid    the model's response does not have the required form

ConfigurationError is not part of this hierarchy: it stops a process before it serves requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil


class ConfigurationError(Exception):
    """The settings are invalid. The message says what to change."""


class SomaError(Exception):
    """Base class for all errors.

    `code` is a stable identifier for programs, `title` names the kind of error, and `detail` describes this occurrence.
    """

    status = 500
    code = "internal_error"
    title = "Internal error"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.title
        super().__init__(self.detail)

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    @property
    def errors(self) -> list[dict[str, str]]:
        """Return `[{field, message}]` if the error concerns fields."""
        return []


class InvalidInput(SomaError):
    status = 422
    code = "invalid_input"
    title = "Invalid input"

    def __init__(self, field: str, message: str, **more: str) -> None:
        """Create an error for one or more fields: `InvalidInput("a", "is too long", b="is required")`."""
        self.fields = {field: message, **more}
        super().__init__("; ".join(f"{name}: {text}" for name, text in self.fields.items()))

    @property
    def errors(self) -> list[dict[str, str]]:
        return [{"field": name, "message": text} for name, text in self.fields.items()]


class DimensionMismatch(InvalidInput):
    code = "dimension_mismatch"
    title = "The vector has the wrong dimension"


class InvalidCoordinate(SomaError):
    status = 400
    code = "invalid_coordinate"
    title = "Invalid coordinate"

    def __init__(self, detail: str, field: str = "") -> None:
        self.field = field
        super().__init__(detail)

    @property
    def errors(self) -> list[dict[str, str]]:
        return [{"field": self.field, "message": self.detail}] if self.field else []


class MalformedRequest(SomaError):
    status = 400
    code = "malformed_request"
    title = "Malformed request"


class HostNotAllowed(MalformedRequest):
    code = "host_not_allowed"
    title = "The host name is not allowed"


class LengthRequired(SomaError):
    status = 411
    code = "length_required"
    title = "Content-Length required"


class Unauthenticated(SomaError):
    status = 401
    code = "unauthenticated"
    title = "A valid API key is required"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": 'Bearer realm="somamemory"'}


class Forbidden(SomaError):
    status = 403
    code = "forbidden"
    title = "The API key lacks the required permissions"


class QuotaExceeded(SomaError):
    status = 403
    code = "quota_exceeded"
    title = "The tenant's quota is exceeded"


class NotFound(SomaError):
    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(SomaError):
    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class Conflict(SomaError):
    status = 409
    code = "conflict"
    title = "Conflict"


class StillRunning(Conflict):
    code = "still_running"
    title = "The first request with this Idempotency-Key is still running"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "1"}


class LlmMissing(Conflict):
    code = "llm_missing"
    title = "No language model is configured"


class ConversationIsCold(Conflict):
    code = "conversation_is_cold"
    title = "The conversation's messages are in cold storage"


class HistoryGone(SomaError):
    status = 410
    code = "history_gone"
    title = "The history does not reach back that far"

    def __init__(self, field: str, earliest: str) -> None:
        self.field = field
        super().__init__(f"the history begins at {earliest}; use this time or a later one")

    @property
    def errors(self) -> list[dict[str, str]]:
        return [{"field": self.field, "message": self.detail}]


class PreconditionFailed(SomaError):
    status = 412
    code = "precondition_failed"
    title = "The precondition failed"


class PayloadTooLarge(SomaError):
    status = 413
    code = "payload_too_large"
    title = "The request body is too large"


class UnsupportedMediaType(SomaError):
    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class BudgetExceeded(SomaError):
    status = 422
    code = "budget_exceeded"
    title = "The request needs too much work"


class RowBudgetExceeded(BudgetExceeded):
    code = "row_budget_exceeded"
    title = "The request counts too many memories"


class VectorBudgetExceeded(BudgetExceeded):
    code = "vector_budget_exceeded"
    title = "The search compares too many vectors"


class KeyReused(SomaError):
    status = 422
    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for a different request"


class RateLimited(SomaError):
    status = 429
    code = "rate_limited"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = max(1, ceil(retry_after_s))

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class RequestQuotaExceeded(RateLimited):
    code = "quota_exceeded"
    title = "The tenant's quota is exceeded"


class IndexBacklog(SomaError):
    status = 429
    code = "index_backlog"
    title = "Too many memories await indexing"
    retry_after_s = 30

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class LlmBudgetExceeded(RateLimited):
    code = "llm_budget_exceeded"
    title = "The tenant's language model budget is exceeded"


class Unavailable(SomaError):
    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"
    retry_after_s = 5

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class DatabaseBusy(Unavailable):
    code = "database_busy"
    title = "The database is busy"
    retry_after_s = 1


class DeadlineExceeded(Unavailable):
    code = "deadline_exceeded"
    title = "The request exceeded its deadline"


class EmbedderUnavailable(Unavailable):
    code = "embedder_unavailable"
    title = "The embedding provider is unavailable"


class EmbedderRefused(EmbedderUnavailable):
    code = "embedder_refused"
    title = "The embedding provider rejected the text"


class IndexUnavailable(Unavailable):
    code = "index_unavailable"
    title = "The vector index is unavailable"


class ColdUnavailable(Unavailable):
    code = "cold_storage_unavailable"
    title = "Cold storage is unavailable"


class ColdFileDamaged(ColdUnavailable):
    code = "cold_file_damaged"
    title = "A cold storage file for a conversation is damaged"


class LlmUnavailable(Unavailable):
    """The language model failed or is not responding. `sent` means that the prompt was sent and may be charged for."""

    code = "llm_unavailable"
    title = "The language model is unavailable"

    def __init__(self, detail: str = "", retry_after_s: float = 0.0, *, sent: bool = False) -> None:
        super().__init__(detail)
        self.sent = sent
        if retry_after_s:
            self.retry_after_s = ceil(retry_after_s)


class LlmRefused(LlmUnavailable):
    code = "llm_refused"
    title = "The language model provider rejected the prompt"


class LlmAnswerInvalid(LlmUnavailable):
    code = "llm_answer_invalid"
    title = "The language model's response is invalid"
