import { type Coordinate, coordinateText } from "./addresses.js";
import type {
  BulkLinkedOut, GraphNeighborsQuery, GraphPathQuery, LinkOut, NamedLinkBody, NeighborsOut, PathOut, UnlinkedOut,
} from "./schema.js"; // prettier-ignore
import { Resource } from "./scope.js";

export type Endpoints = Pick<NamedLinkBody, "from_coord" | "to_coord" | "from_key" | "to_key" | "from_id" | "to_id">;

export class Graph extends Resource {
  /** Link two memories, each named by its coordinate, key or id. */
  async link(link: NamedLinkBody): Promise<LinkOut> {
    return this.transport.json("POST", "/graph/link", { json: { ...this.namespace(), ...link }, once: true });
  }

  /** Store many links between coordinates. */
  async linkMany(links: readonly NamedLinkBody[], options: { atomic?: boolean } = {}): Promise<BulkLinkedOut> {
    const json = { links: links.map((link) => ({ ...this.namespace(), ...link })), ...options };
    return this.transport.json("POST", "/graph/links/bulk", { json, once: true });
  }

  async unlink(link: { from_coord: Coordinate; to_coord: Coordinate; link_type?: string; namespace?: string }): Promise<UnlinkedOut> {
    const { from_coord, to_coord, ...others } = link;
    const query = { ...this.namespace(), ...others, from_coord: coordinateText(from_coord), to_coord: coordinateText(to_coord) };
    return this.transport.json("DELETE", "/graph/link", { query });
  }

  /** Return the memories that can be reached over links. */
  async neighbors(options: GraphNeighborsQuery): Promise<NeighborsOut> {
    return this.transport.json("GET", "/graph/neighbors", { query: { ...(options.id ? {} : this.namespace()), ...options } });
  }

  /** Return the shortest path between two coordinates. */
  async path(options: GraphPathQuery): Promise<PathOut> {
    return this.transport.json("GET", "/graph/path", { query: { ...this.namespace(), ...options } });
  }
}
