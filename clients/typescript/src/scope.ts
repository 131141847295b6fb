import { InvalidArgument } from "./errors.js";
import type { Transport } from "./transport.js";

/** The scope of a client. A value given in a call overrides the scope. */
export interface Scope {
  readonly namespace?: string | undefined;
  readonly user_id?: string | undefined;
  readonly agent_id?: string | undefined;
  readonly session_id?: string | undefined;
}

export type Ids = Pick<Scope, "user_id" | "agent_id" | "session_id">;

/** Base class for groups of API calls. */
export class Resource {
  constructor(protected readonly transport: Transport, protected readonly scope: Scope) {}

  /** Return the user, agent and session of the call or, without them, those of the scope. */
  protected ids(given: { [Name in keyof Ids]?: string | null | undefined }): Ids {
    return Object.fromEntries(IDS.map((name) => [name, given[name] ?? this.scope[name]]));
  }

  /** Return the namespace of the call or, without one, that of the scope. */
  protected namespace<Given = string>(given?: Given | null): { namespace?: Given | string } {
    const namespace = given ?? this.scope.namespace;
    return namespace === undefined ? {} : { namespace };
  }

  /** Throw InvalidArgument if the scope contains one of these names, which cannot limit the call. */
  protected refuse(call: string, ...names: (keyof Scope)[]): void {
    const name = names.find((name) => this.scope[name] !== undefined);
    if (name) throw new InvalidArgument(name, `${call} does not support this scope; call it on a client without the scope`);
  }
}

export const IDS = ["user_id", "agent_id", "session_id"] as const;
