"""Every error a caller can meet, rendered in one place (`api.app`) as problem+json (RFC 9457).

SomaError
├── InvalidInput (422)          one or more fields are wrong; `fields` says which
│   └── DimensionMismatch       a vector has another length than the active generation
├── InvalidCoordinate (400)
├── MalformedRequest (400)      not JSON, not UTF-8
├── LengthRequired (411)        a chunked body
├── Unauthenticated (401)
├── Forbidden (403)             the key is good, but may not do this
├── QuotaExceeded (403)         of memories, bytes or keys; of requests, RateLimited says when
├── NotFound (404)
├── MethodNotAllowed (405)
├── Conflict (409)
│   ├── StillRunning            another request with this Idempotency-Key has not ended yet
│   ├── LlmMissing              it needs a language model, and the settings name none
│   └── ConversationIsCold      its messages are in a file, and did not come back in time
├── PreconditionFailed (412)    If-Match or If-None-Match did not hold
├── PayloadTooLarge (413)
├── UnsupportedMediaType (415)
├── KeyReused (422)             an Idempotency-Key came again with another request
├── RateLimited (429)           `retry_after_s` says when there is room again
│   └── RequestQuotaExceeded    the tenant's requests of today are used up
├── IndexBacklog (429)          too many of the tenant's memories wait for the index
├── LlmBudgetExceeded (429)     the tenant's tokens or money for language models are used up
└── Unavailable (503)           try again later; `retry_after_s` says when
    ├── DatabaseBusy
    ├── EmbedderUnavailable
    │   └── EmbedderRefused     the provider will never take this text
    ├── IndexUnavailable
    ├── ColdUnavailable         what keeps the files of cold conversations does not answer
    │   └── ColdFileDamaged     a file is missing, or is not what was written
    └── LlmUnavailable
        ├── LlmRefused          the provider will never take this question
        └── LlmAnswerInvalid    the model answered something else than it was asked for

ConfigurationError is not among them: it stops a process before it serves anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil


class ConfigurationError(Exception):
    """The settings cannot work; the message says what to change."""


class SomaError(Exception):
    """The root. `code` is for machines, `title` is the kind, `detail` is this case."""

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
        """`[{field, message}]` for errors that concern fields."""
        return []


class InvalidInput(SomaError):
    status = 422
    code = "invalid_input"
    title = "Invalid input"

    def __init__(self, field: str, message: str, **more: str) -> None:
        """One wrong field, or several: `InvalidInput("a", "too long", b="missing")`."""
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


class MalformedRequest(SomaError):
    status = 400
    code = "malformed_request"
    title = "Malformed request"


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
    title = "This key may not do that"


class QuotaExceeded(SomaError):
    status = 403
    code = "quota_exceeded"
    title = "The tenant's quota is used up"


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
    title = "There is no language model"


class ConversationIsCold(Conflict):
    code = "conversation_is_cold"
    title = "The messages of the conversation are in cold storage"


class PreconditionFailed(SomaError):
    status = 412
    code = "precondition_failed"
    title = "The memory is not as the request expects"


class PayloadTooLarge(SomaError):
    status = 413
    code = "payload_too_large"
    title = "The body is too large"


class UnsupportedMediaType(SomaError):
    status = 415
    code = "unsupported_media_type"
    title = "The body has another media type than it must have"


class KeyReused(SomaError):
    status = 422
    code = "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request"


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
    title = "The tenant's quota is used up"


class IndexBacklog(SomaError):
    status = 429
    code = "index_backlog"
    title = "Too many memories wait for the index"
    retry_after_s = 30

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class LlmBudgetExceeded(RateLimited):
    code = "llm_budget_exceeded"
    title = "The tenant's budget for language models is used up"


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


class EmbedderUnavailable(Unavailable):
    code = "embedder_unavailable"
    title = "The embedding provider does not answer"


class EmbedderRefused(EmbedderUnavailable):
    code = "embedder_refused"
    title = "The embedding provider refuses the text"


class IndexUnavailable(Unavailable):
    code = "index_unavailable"
    title = "The vector index does not answer"


class ColdUnavailable(Unavailable):
    code = "cold_storage_unavailable"
    title = "The storage of cold conversations does not answer"


class ColdFileDamaged(ColdUnavailable):
    code = "cold_file_damaged"
    title = "The file of a cold conversation is damaged"


class LlmUnavailable(Unavailable):
    """`sent`: the question went out and was given up, so that the provider may charge for it."""

    code = "llm_unavailable"
    title = "The language model does not answer"

    def __init__(self, detail: str = "", retry_after_s: float = 0.0, *, sent: bool = False) -> None:
        super().__init__(detail)
        self.sent = sent
        if retry_after_s:
            self.retry_after_s = ceil(retry_after_s)


class LlmRefused(LlmUnavailable):
    code = "llm_refused"
    title = "The language model's provider refuses the question"


class LlmAnswerInvalid(LlmUnavailable):
    code = "llm_answer_invalid"
    title = "The language model's answer cannot be used"
