import { encoded } from "./arguments.js";
import { Pages } from "./pages.js";
import type {
  AuditOut, AuditPageOut, DeleteNamespaceBody, ErasedOut, IssuedKeyOut, JobOut, KeyBody, KeyOut, KeysOut,
  NamespaceOut, NamespacesListQuery, NamespacesOut, ProposalOut, ProposalsListQuery, ProposalsOut, ReceiptOut, RenameBody, RotateBody, TenantBody, TenantOut, TenantPatch,
  TenantsListAuditQuery, TenantsOut, UsageOut,
} from "./schema.js"; // prettier-ignore
import { IDS, Resource } from "./scope.js";

/** List, rename and delete namespaces. */
export class Namespaces extends Resource {
  /** List the namespaces with the number of memories in each. */
  list(options: Omit<NamespacesListQuery, "cursor"> = {}): Pages<NamespaceOut> {
    this.refuse("namespaces.list", ...IDS, "namespace");
    return new Pages(async (cursor) => {
      const page = await this.transport.json<NamespacesOut>("GET", "/namespaces", { query: { ...options, cursor } });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }

  /** Rename a namespace. With `merge`, add its memories to an existing namespace. */
  async rename(namespace: string, to: string, options: Pick<RenameBody, "merge"> = {}): Promise<ReceiptOut> {
    this.refuse("namespaces.rename", ...IDS);
    return this.transport.json("POST", "/namespaces/rename", { json: { namespace, to, ...options }, once: true });
  }

  /** Delete all memories in a namespace. */
  async delete(namespace: string, options: Omit<DeleteNamespaceBody, "namespace"> = {}): Promise<ReceiptOut> {
    this.refuse("namespaces.delete", ...IDS);
    return this.transport.json("POST", "/namespaces/delete", { json: { namespace, ...options }, once: true });
  }
}

/** Decide on proposals to supersede facts. */
export class Proposals extends Resource {
  /** List the proposals in a given state, newest first. By default, list the open proposals. */
  list(options: Omit<ProposalsListQuery, "cursor"> = {}): Pages<ProposalOut> {
    this.refuse("proposals.list", ...IDS, "namespace");
    return new Pages(async (cursor) => {
      const page = await this.transport.json<ProposalsOut>("GET", "/proposals", { query: { ...options, cursor } });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }

  /** Let the newer fact supersede the older one. */
  async accept(id: string): Promise<ProposalOut> {
    return this.#decide(id, "accept");
  }

  /** Keep both facts. */
  async reject(id: string): Promise<ProposalOut> {
    return this.#decide(id, "reject");
  }

  /** Reopen a proposal that was accepted or rejected. */
  async undo(id: string): Promise<ProposalOut> {
    return this.#decide(id, "undo");
  }

  async #decide(id: string, verb: "accept" | "reject" | "undo"): Promise<ProposalOut> {
    return this.transport.json("POST", `/proposals/${encoded("id", id)}/${verb}`, { once: true });
  }
}

const tenantPath = (slug: string): string => `/tenants/${encoded("tenant", slug)}`;
const keyPath = (slug: string, prefix: string): string => `${tenantPath(slug)}/keys/${encoded("prefix", prefix)}`;

/** Manage tenants, and read their usage and audit logs. */
export class Tenants extends Resource {
  /** Create a tenant. */
  async create(slug: string, options: Omit<TenantBody, "slug"> = {}): Promise<TenantOut> {
    return this.transport.json("POST", "/tenants", { json: { slug, ...options }, once: true });
  }

  /** List all tenants. */
  list(): Pages<TenantOut> {
    return new Pages(async (cursor) => {
      const page = await this.transport.json<TenantsOut>("GET", "/tenants", { query: { cursor } });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }

  /** Return a tenant. Throws NotFound if it does not exist. */
  async get(slug: string): Promise<TenantOut> {
    return this.transport.json("GET", tenantPath(slug));
  }

  /** Change a tenant's fields, such as its quotas. */
  async update(slug: string, changes: TenantPatch): Promise<TenantOut> {
    return this.transport.json("PATCH", tenantPath(slug), { json: changes, once: true });
  }

  /** Erase a tenant and all its data. This cannot be undone. */
  async erase(slug: string): Promise<ErasedOut> {
    return this.transport.json("DELETE", tenantPath(slug));
  }

  /** Return a tenant's usage and quotas. */
  async usage(slug: string): Promise<UsageOut> {
    return this.transport.json("GET", `${tenantPath(slug)}/usage`);
  }

  /** List a tenant's audit log entries, newest first. */
  audit(slug: string, options: Omit<TenantsListAuditQuery, "cursor"> = {}): Pages<AuditOut> {
    return new Pages(async (cursor) => {
      const page = await this.transport.json<AuditPageOut>("GET", `${tenantPath(slug)}/audit`, { query: { ...options, cursor } });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }
}

/** Manage a tenant's API keys. */
export class Keys extends Resource {
  /** Create a key. Only this response contains the secret. */
  async create(slug: string, options: KeyBody = {}): Promise<IssuedKeyOut> {
    return this.transport.json("POST", `${tenantPath(slug)}/keys`, { json: options, once: true });
  }

  /** List a tenant's keys, without their secrets. */
  list(slug: string): Pages<KeyOut> {
    return new Pages(async (cursor) => {
      const page = await this.transport.json<KeysOut>("GET", `${tenantPath(slug)}/keys`, { query: { cursor } });
      return { items: page.items, nextCursor: page.next_cursor };
    });
  }

  /** Replace a key. The old key remains valid for `overlap_hours`. */
  async rotate(slug: string, prefix: string, options: RotateBody = {}): Promise<IssuedKeyOut> {
    return this.transport.json("POST", `${keyPath(slug, prefix)}/rotate`, { json: options, once: true });
  }

  /** Revoke a key. */
  async revoke(slug: string, prefix: string): Promise<KeyOut> {
    return this.transport.json("DELETE", keyPath(slug, prefix));
  }
}

/** Follow long-running jobs. */
export class Jobs extends Resource {
  /** Return the state of a job. Throws NotFound if it does not exist. */
  async get(id: string): Promise<JobOut> {
    return this.transport.json("GET", `/jobs/${encoded("id", id)}`);
  }
}

/** Administration. These calls require an operator's key. */
export class Admin extends Resource {
  readonly tenants = new Tenants(this.transport, this.scope);
  readonly keys = new Keys(this.transport, this.scope);
  readonly jobs = new Jobs(this.transport, this.scope);
}
