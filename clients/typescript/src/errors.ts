import type { Problem } from "./schema.js";

/** Base class for all client errors. */
export class SomaError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** An argument is invalid; the request was not sent. `field` names the argument. */
export class InvalidArgument extends SomaError {
  constructor(readonly field: string, problem: string) {
    super(`${field}: ${problem}`);
  }
}

/** The server could not be reached, or its response did not arrive. */
export class TransportError extends SomaError {}

/** No connection could be opened, or the connection ended before the response was complete. A write may have taken effect. */
export class ConnectionLost extends TransportError {}

/** The response did not arrive in time. A write may have taken effect. */
export class ResponseTimeout extends TransportError {}

/** The response came from another program or a proxy, not from SomaMemory. */
export class InvalidResponse extends SomaError {}

/** The server and the client have different major versions. */
export class IncompatibleServer extends SomaError {}

/** An error response. Each error code has a subclass. `code` is stable; the message is for people. */
export class ApiError extends SomaError {
  readonly status: number;
  readonly code: string;
  readonly title: string | undefined;
  readonly detail: string;
  readonly requestId: string | undefined;
  readonly errors: NonNullable<Problem["errors"]>;
  readonly retryAfterS: number | undefined;

  constructor(problem: Partial<Problem> & { status: number }, retryAfterS?: number) {
    super(problem.detail ?? problem.title ?? `the server responded with status ${problem.status}`);
    this.status = problem.status;
    this.code = problem.code ?? "unknown";
    this.title = problem.title;
    this.detail = this.message;
    this.requestId = problem.request_id;
    this.errors = problem.errors ?? [];
    this.retryAfterS = retryAfterS;
  }
}

/** 500 `internal_error`: Internal error. */
export class ServerError extends ApiError {}
/** 422 `invalid_input`: Invalid input. */
export class InvalidInput extends ApiError {}
/** 422 `dimension_mismatch`: The vector has the wrong dimension. */
export class DimensionMismatch extends InvalidInput {}
/** 400 `invalid_coordinate`: Invalid coordinate. */
export class InvalidCoordinate extends ApiError {}
/** 400 `malformed_request`: Malformed request. */
export class MalformedRequest extends ApiError {}
/** 400 `host_not_allowed`: The host name is not allowed. */
export class HostNotAllowed extends MalformedRequest {}
/** 411 `length_required`: Content-Length required. */
export class LengthRequired extends ApiError {}
/** 401 `unauthenticated`: A valid API key is required. */
export class Unauthenticated extends ApiError {}
/** 403 `forbidden`: The API key lacks the required permissions. */
export class Forbidden extends ApiError {}
/** 403 `quota_exceeded`: The tenant's quota is exceeded. */
export class QuotaExceeded extends ApiError {}
/** 429 `rate_limited`: Too many requests. */
export class RateLimited extends ApiError {}
/** 429 `quota_exceeded`: The tenant's quota is exceeded. */
export class RequestQuotaExceeded extends RateLimited {}
/** 404 `not_found`: Not found. */
export class NotFound extends ApiError {}
/** 405 `method_not_allowed`: Method not allowed. */
export class MethodNotAllowed extends ApiError {}
/** 409 `conflict`: Conflict. */
export class Conflict extends ApiError {}
/** 409 `still_running`: The first request with this Idempotency-Key is still running. */
export class StillRunning extends Conflict {}
/** 409 `llm_missing`: No language model is configured. */
export class LlmMissing extends Conflict {}
/** 409 `conversation_is_cold`: The conversation's messages are in cold storage. */
export class ConversationIsCold extends Conflict {}
/** 410 `history_gone`: The history does not reach back that far. */
export class HistoryGone extends ApiError {}
/** 412 `precondition_failed`: The precondition failed. */
export class PreconditionFailed extends ApiError {}
/** 413 `payload_too_large`: The request body is too large. */
export class PayloadTooLarge extends ApiError {}
/** 415 `unsupported_media_type`: Unsupported media type. */
export class UnsupportedMediaType extends ApiError {}
/** 422 `budget_exceeded`: The request needs too much work. */
export class BudgetExceeded extends ApiError {}
/** 422 `row_budget_exceeded`: The request counts too many memories. */
export class RowBudgetExceeded extends BudgetExceeded {}
/** 422 `vector_budget_exceeded`: The search compares too many vectors. */
export class VectorBudgetExceeded extends BudgetExceeded {}
/** 422 `idempotency_key_reused`: This Idempotency-Key was used for a different request. */
export class KeyReused extends ApiError {}
/** 429 `index_backlog`: Too many memories await indexing. */
export class IndexBacklog extends ApiError {}
/** 429 `llm_budget_exceeded`: The tenant's language model budget is exceeded. */
export class LlmBudgetExceeded extends RateLimited {}
/** 503 `unavailable`: Temporarily unavailable. */
export class Unavailable extends ApiError {}
/** 503 `database_busy`: The database is busy. */
export class DatabaseBusy extends Unavailable {}
/** 503 `deadline_exceeded`: The request exceeded its deadline. */
export class DeadlineExceeded extends Unavailable {}
/** 503 `embedder_unavailable`: The embedding provider is unavailable. */
export class EmbedderUnavailable extends Unavailable {}
/** 503 `embedder_refused`: The embedding provider rejected the text. */
export class EmbedderRefused extends EmbedderUnavailable {}
/** 503 `index_unavailable`: The vector index is unavailable. */
export class IndexUnavailable extends Unavailable {}
/** 503 `cold_storage_unavailable`: Cold storage is unavailable. */
export class ColdUnavailable extends Unavailable {}
/** 503 `cold_file_damaged`: A cold storage file for a conversation is damaged. */
export class ColdFileDamaged extends ColdUnavailable {}
/** 503 `llm_unavailable`: The language model is unavailable. */
export class LlmUnavailable extends Unavailable {}
/** 503 `llm_refused`: The language model provider rejected the prompt. */
export class LlmRefused extends LlmUnavailable {}
/** 503 `llm_answer_invalid`: The language model's response is invalid. */
export class LlmAnswerInvalid extends LlmUnavailable {}
/** 408 `request_timeout`: The request took too long to arrive. */
export class RequestTimeout extends ApiError {}
/** 414 `uri_too_long`: The request line is too long. */
export class UriTooLong extends ApiError {}
/** 431 `headers_too_large`: The headers are too large. */
export class HeadersTooLarge extends ApiError {}

/** The class for each error code. */
export const ERRORS: Readonly<Record<string, typeof ApiError>> = {
  budget_exceeded: BudgetExceeded,
  cold_file_damaged: ColdFileDamaged,
  cold_storage_unavailable: ColdUnavailable,
  conflict: Conflict,
  conversation_is_cold: ConversationIsCold,
  database_busy: DatabaseBusy,
  deadline_exceeded: DeadlineExceeded,
  dimension_mismatch: DimensionMismatch,
  embedder_refused: EmbedderRefused,
  embedder_unavailable: EmbedderUnavailable,
  forbidden: Forbidden,
  headers_too_large: HeadersTooLarge,
  history_gone: HistoryGone,
  host_not_allowed: HostNotAllowed,
  idempotency_key_reused: KeyReused,
  index_backlog: IndexBacklog,
  index_unavailable: IndexUnavailable,
  internal_error: ServerError,
  invalid_coordinate: InvalidCoordinate,
  invalid_input: InvalidInput,
  length_required: LengthRequired,
  llm_answer_invalid: LlmAnswerInvalid,
  llm_budget_exceeded: LlmBudgetExceeded,
  llm_missing: LlmMissing,
  llm_refused: LlmRefused,
  llm_unavailable: LlmUnavailable,
  malformed_request: MalformedRequest,
  method_not_allowed: MethodNotAllowed,
  not_found: NotFound,
  payload_too_large: PayloadTooLarge,
  precondition_failed: PreconditionFailed,
  quota_exceeded: QuotaExceeded,
  rate_limited: RateLimited,
  request_timeout: RequestTimeout,
  row_budget_exceeded: RowBudgetExceeded,
  still_running: StillRunning,
  unauthenticated: Unauthenticated,
  unavailable: Unavailable,
  unsupported_media_type: UnsupportedMediaType,
  uri_too_long: UriTooLong,
  vector_budget_exceeded: VectorBudgetExceeded,
};
