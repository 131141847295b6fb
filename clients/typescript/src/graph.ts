import type { Coordinate } from "./addresses.js";
import type {
  BulkLinkedOut, GraphNeighborsQuery, GraphPathQuery, GraphUnlinkQuery, LinkOut, NamedLinkBody, NeighborsOut, PathOut, UnlinkedOut,
} from "./schema.js"; // prettier-ignore
import { Resource } from "./scope.js";

/** A query whose coordinates may be given as numbers. */
type Ends<T> = Omit<T, "from_coord" | "to_coord"> & { from_coord?: Coordinate; to_coord?: Coordinate };

/** Link memories, and follow the links. */
export class Graph extends Resource {
  /** Link two memories, each identified by its coordinate, key or id. */
  async link(link: NamedLinkBody): Promise<LinkOut> {
    return this.transport.json("POST", "/graph/link", { json: { ...link, ...this.namespace(link.namespace) }, once: true });
  }

  /** Create many links in one request. */
  async linkMany(links: readonly NamedLinkBody[], options: { atomic?: boolean } = {}): Promise<BulkLinkedOut> {
    const json = { links: links.map((link) => ({ ...link, ...this.namespace(link.namespace) })), ...options };
    return this.transport.json("POST", "/graph/links/bulk", { json, once: true });
  }

  /** Remove a link. */
  async unlink(link: Ends<GraphUnlinkQuery>): Promise<UnlinkedOut> {
    return this.transport.json("DELETE", "/graph/link", { query: { ...link, ...this.namespace(link.namespace) } });
  }

  /** Return the memories that can be reached by following links. */
  async neighbors(options: GraphNeighborsQuery): Promise<NeighborsOut> {
    return this.transport.json("GET", "/graph/neighbors", { query: { ...options, ...(options.id ? {} : this.namespace(options.namespace)) } });
  }

  /** Return the shortest path between two memories, each identified by its coordinate, key or id. */
  async path(options: Ends<GraphPathQuery>): Promise<PathOut> {
    return this.transport.json("GET", "/graph/path", { query: { ...options, ...this.namespace(options.namespace) } });
  }
}
