"""An error class for each code. Written by scripts/client_types.py. Do not edit: run `make reference`."""

from __future__ import annotations

from .errors import ApiError


class ServerError(ApiError):
    """500 `internal_error`: Internal error."""


class InvalidInput(ApiError):
    """422 `invalid_input`: Invalid input."""


class DimensionMismatch(InvalidInput):
    """422 `dimension_mismatch`: The vector has the wrong dimension."""


class InvalidCoordinate(ApiError):
    """400 `invalid_coordinate`: Invalid coordinate."""


class MalformedRequest(ApiError):
    """400 `malformed_request`: Malformed request."""


class HostNotAllowed(MalformedRequest):
    """400 `host_not_allowed`: The host name is not allowed."""


class LengthRequired(ApiError):
    """411 `length_required`: Content-Length required."""


class Unauthenticated(ApiError):
    """401 `unauthenticated`: A valid API key is required."""


class Forbidden(ApiError):
    """403 `forbidden`: The API key lacks the required permissions."""


class QuotaExceeded(ApiError):
    """403 `quota_exceeded`: The tenant's quota is exceeded."""


class RateLimited(ApiError):
    """429 `rate_limited`: Too many requests."""


class RequestQuotaExceeded(RateLimited):
    """429 `quota_exceeded`: The tenant's quota is exceeded."""


class NotFound(ApiError):
    """404 `not_found`: Not found."""


class MethodNotAllowed(ApiError):
    """405 `method_not_allowed`: Method not allowed."""


class Conflict(ApiError):
    """409 `conflict`: Conflict."""


class StillRunning(Conflict):
    """409 `still_running`: The first request with this Idempotency-Key is still running."""


class LlmMissing(Conflict):
    """409 `llm_missing`: No language model is configured."""


class ConversationIsCold(Conflict):
    """409 `conversation_is_cold`: The conversation's messages are in cold storage."""


class HistoryGone(ApiError):
    """410 `history_gone`: The history does not reach back that far."""


class PreconditionFailed(ApiError):
    """412 `precondition_failed`: The precondition failed."""


class PayloadTooLarge(ApiError):
    """413 `payload_too_large`: The request body is too large."""


class UnsupportedMediaType(ApiError):
    """415 `unsupported_media_type`: Unsupported media type."""


class BudgetExceeded(ApiError):
    """422 `budget_exceeded`: The request needs too much work."""


class RowBudgetExceeded(BudgetExceeded):
    """422 `row_budget_exceeded`: The request counts too many memories."""


class VectorBudgetExceeded(BudgetExceeded):
    """422 `vector_budget_exceeded`: The search compares too many vectors."""


class KeyReused(ApiError):
    """422 `idempotency_key_reused`: This Idempotency-Key was used for a different request."""


class IndexBacklog(ApiError):
    """429 `index_backlog`: Too many memories await indexing."""


class LlmBudgetExceeded(RateLimited):
    """429 `llm_budget_exceeded`: The tenant's language model budget is exceeded."""


class Unavailable(ApiError):
    """503 `unavailable`: Temporarily unavailable."""


class DatabaseBusy(Unavailable):
    """503 `database_busy`: The database is busy."""


class DeadlineExceeded(Unavailable):
    """503 `deadline_exceeded`: The request exceeded its deadline."""


class EmbedderUnavailable(Unavailable):
    """503 `embedder_unavailable`: The embedding provider is unavailable."""


class EmbedderRefused(EmbedderUnavailable):
    """503 `embedder_refused`: The embedding provider rejected the text."""


class IndexUnavailable(Unavailable):
    """503 `index_unavailable`: The vector index is unavailable."""


class ColdUnavailable(Unavailable):
    """503 `cold_storage_unavailable`: Cold storage is unavailable."""


class ColdFileDamaged(ColdUnavailable):
    """503 `cold_file_damaged`: A cold storage file for a conversation is damaged."""


class LlmUnavailable(Unavailable):
    """503 `llm_unavailable`: The language model is unavailable."""


class LlmRefused(LlmUnavailable):
    """503 `llm_refused`: The language model provider rejected the prompt."""


class LlmAnswerInvalid(LlmUnavailable):
    """503 `llm_answer_invalid`: The language model's response is invalid."""


class RequestTimeout(ApiError):
    """408 `request_timeout`: The request took too long to arrive."""


class UriTooLong(ApiError):
    """414 `uri_too_long`: The request line is too long."""


class HeadersTooLarge(ApiError):
    """431 `headers_too_large`: The headers are too large."""


__all__ = [
    "BudgetExceeded",
    "ColdFileDamaged",
    "ColdUnavailable",
    "Conflict",
    "ConversationIsCold",
    "DatabaseBusy",
    "DeadlineExceeded",
    "DimensionMismatch",
    "EmbedderRefused",
    "EmbedderUnavailable",
    "Forbidden",
    "HeadersTooLarge",
    "HistoryGone",
    "HostNotAllowed",
    "IndexBacklog",
    "IndexUnavailable",
    "InvalidCoordinate",
    "InvalidInput",
    "KeyReused",
    "LengthRequired",
    "LlmAnswerInvalid",
    "LlmBudgetExceeded",
    "LlmMissing",
    "LlmRefused",
    "LlmUnavailable",
    "MalformedRequest",
    "MethodNotAllowed",
    "NotFound",
    "PayloadTooLarge",
    "PreconditionFailed",
    "QuotaExceeded",
    "RateLimited",
    "RequestQuotaExceeded",
    "RequestTimeout",
    "RowBudgetExceeded",
    "ServerError",
    "StillRunning",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedMediaType",
    "UriTooLong",
    "VectorBudgetExceeded",
]

BY_CODE: dict[tuple[str, int], type[ApiError]] = {
    ("internal_error", 500): ServerError,
    ("invalid_input", 422): InvalidInput,
    ("dimension_mismatch", 422): DimensionMismatch,
    ("invalid_coordinate", 400): InvalidCoordinate,
    ("malformed_request", 400): MalformedRequest,
    ("host_not_allowed", 400): HostNotAllowed,
    ("length_required", 411): LengthRequired,
    ("unauthenticated", 401): Unauthenticated,
    ("forbidden", 403): Forbidden,
    ("quota_exceeded", 403): QuotaExceeded,
    ("quota_exceeded", 429): RequestQuotaExceeded,
    ("not_found", 404): NotFound,
    ("method_not_allowed", 405): MethodNotAllowed,
    ("conflict", 409): Conflict,
    ("still_running", 409): StillRunning,
    ("llm_missing", 409): LlmMissing,
    ("conversation_is_cold", 409): ConversationIsCold,
    ("history_gone", 410): HistoryGone,
    ("precondition_failed", 412): PreconditionFailed,
    ("payload_too_large", 413): PayloadTooLarge,
    ("unsupported_media_type", 415): UnsupportedMediaType,
    ("budget_exceeded", 422): BudgetExceeded,
    ("row_budget_exceeded", 422): RowBudgetExceeded,
    ("vector_budget_exceeded", 422): VectorBudgetExceeded,
    ("idempotency_key_reused", 422): KeyReused,
    ("rate_limited", 429): RateLimited,
    ("index_backlog", 429): IndexBacklog,
    ("llm_budget_exceeded", 429): LlmBudgetExceeded,
    ("unavailable", 503): Unavailable,
    ("database_busy", 503): DatabaseBusy,
    ("deadline_exceeded", 503): DeadlineExceeded,
    ("embedder_unavailable", 503): EmbedderUnavailable,
    ("embedder_refused", 503): EmbedderRefused,
    ("index_unavailable", 503): IndexUnavailable,
    ("cold_storage_unavailable", 503): ColdUnavailable,
    ("cold_file_damaged", 503): ColdFileDamaged,
    ("llm_unavailable", 503): LlmUnavailable,
    ("llm_refused", 503): LlmRefused,
    ("llm_answer_invalid", 503): LlmAnswerInvalid,
    ("request_timeout", 408): RequestTimeout,
    ("uri_too_long", 414): UriTooLong,
    ("headers_too_large", 431): HeadersTooLarge,
}
