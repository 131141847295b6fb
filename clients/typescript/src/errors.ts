import type { Problem } from "./schema.js";

/** Base class of all errors of this client. */
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

/** The server could not be reached, or the connection was lost. */
export class APIConnectionError extends SomaError {}

/** The server did not respond in time. */
export class APITimeoutError extends APIConnectionError {}

/** The response does not come from SomaMemory, or from another major version of it. */
export class IncompatibleServer extends SomaError {}

/** An error response. There is a subclass for each error code; `code` is stable, the message is for people. */
export class APIError extends SomaError {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly requestId: string | undefined;
  readonly errors: NonNullable<Problem["errors"]>;
  readonly retryAfterS: number | undefined;

  constructor(problem: Partial<Problem> & { status: number }, retryAfterS?: number) {
    super(problem.detail ?? problem.title ?? `the server responded with status ${problem.status}`);
    this.status = problem.status;
    this.code = problem.code ?? "unknown";
    this.detail = this.message;
    this.requestId = problem.request_id;
    this.errors = problem.errors ?? [];
    this.retryAfterS = retryAfterS;
  }
}

export class HostNotAllowed extends APIError {}
export class InvalidCoordinate extends APIError {}
export class MalformedRequest extends APIError {}
export class Unauthenticated extends APIError {}
export class Forbidden extends APIError {}
export class QuotaExceeded extends APIError {}
export class NotFound extends APIError {}
export class MethodNotAllowed extends APIError {}
export class RequestTimeout extends APIError {}
export class Conflict extends APIError {}
export class ConversationIsCold extends Conflict {}
export class LlmMissing extends Conflict {}
export class StillRunning extends Conflict {}
export class HistoryGone extends APIError {}
export class LengthRequired extends APIError {}
export class PreconditionFailed extends APIError {}
export class PayloadTooLarge extends APIError {}
export class UriTooLong extends APIError {}
export class UnsupportedMediaType extends APIError {}
export class InvalidInput extends APIError {}
export class DimensionMismatch extends InvalidInput {}
export class IdempotencyKeyReused extends InvalidInput {}
export class BudgetExceeded extends InvalidInput {}
export class RowBudgetExceeded extends BudgetExceeded {}
export class VectorBudgetExceeded extends BudgetExceeded {}
export class RateLimited extends APIError {}
export class IndexBacklog extends RateLimited {}
export class LlmBudgetExceeded extends RateLimited {}
export class HeadersTooLarge extends APIError {}
export class InternalError extends APIError {}
export class Unavailable extends APIError {}
export class ColdFileDamaged extends Unavailable {}
export class ColdStorageUnavailable extends Unavailable {}
export class DatabaseBusy extends Unavailable {}
export class DeadlineExceeded extends Unavailable {}
export class EmbedderRefused extends Unavailable {}
export class EmbedderUnavailable extends Unavailable {}
export class IndexUnavailable extends Unavailable {}
export class LlmAnswerInvalid extends Unavailable {}
export class LlmRefused extends Unavailable {}
export class LlmUnavailable extends Unavailable {}

/** The class of each error code. */
export const ERRORS: Readonly<Record<string, typeof APIError>> = {
  budget_exceeded: BudgetExceeded,
  cold_file_damaged: ColdFileDamaged,
  cold_storage_unavailable: ColdStorageUnavailable,
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
  idempotency_key_reused: IdempotencyKeyReused,
  index_backlog: IndexBacklog,
  index_unavailable: IndexUnavailable,
  internal_error: InternalError,
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
