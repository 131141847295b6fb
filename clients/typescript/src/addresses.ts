import { encoded } from "./arguments.js";
import { InvalidArgument } from "./errors.js";

export type Coordinate = string | readonly number[];

/** The address of a memory: its key, id or coordinate. */
export type Address =
  | { readonly key: string; readonly namespace?: string | undefined }
  | { readonly coord: Coordinate; readonly namespace?: string | undefined }
  | { readonly id: string };

export const NAMES = ["key", "id", "coord"] as const;

export const coordinateText = (coord: Coordinate): string => (typeof coord === "string" ? coord : coord.join(","));

/** Return the path of a memory, such as `/memories/by-key/ada/seat`. */
export function pathOf(address: Address): string {
  const given = NAMES.filter((name) => (address as Record<string, unknown>)[name] !== undefined);
  if (given.length !== 1) throw new InvalidArgument("address", "must contain exactly one of key, id and coord");
  if ("id" in address && address.id !== undefined) return `/memories/by-id/${encoded("id", address.id)}`;
  if ("coord" in address && address.coord !== undefined) return `/memories/${encoded("coord", coordinateText(address.coord))}`;
  return `/memories/by-key/${keyPath((address as { key: string }).key)}`;
}

function keyPath(key: string): string {
  if (key.length === 0) throw new InvalidArgument("key", "must not be empty");
  const segments = key.split("/");
  if (segments.includes(".") || segments.includes("..")) {
    throw new InvalidArgument("key", "must not contain the segment '.' or '..'");
  }
  return segments.map((segment) => encoded("key", segment)).join("/");
}
