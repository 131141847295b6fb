import { NotFound, PreconditionFailed, SomaError } from "./errors.js";
import type { Memories } from "./memories.js";
import type { MemoryOut } from "./schema.js";

const ROOT = "/memories";
const PAGE = 1000;
const MAX_TRIES = 100; // attempts to change a file that others are changing
const ROOT_MUST_STAY = "the /memories directory itself";

/** Thrown if a memory tool command cannot be executed. The message is for the model. */
export class Refused extends SomaError {}

/** A file, or a directory if it has no text. The path is relative to ROOT, and "" is ROOT itself. */
export interface Entry {
  path: string;
  text: string | undefined;
  version: number;
}

/** Return the path of a name relative to ROOT. Throws Refused if the name is outside ROOT. */
export function located(name: string): string {
  if (!name.startsWith(ROOT)) throw new Refused(`Path must start with ${ROOT}, got: ${name}`);
  const path: string[] = [];
  for (const segment of name.slice(ROOT.length).split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment !== "..") path.push(segment);
    else if (path.pop() === undefined) throw new Refused(`Path ${name} would escape ${ROOT} directory`);
  }
  return path.join("/");
}

/**
 * The files and directories of the memory tool, stored as memories in one namespace. The key of a memory is the path of
 * the file. A directory is a memory with an empty payload, so that empty directories can exist.
 */
export class MemoryFiles {
  constructor(readonly memories: Memories) {}

  /** Return the entries at and below a path. */
  async below(path: string): Promise<Map<string, Entry>> {
    const listed = await this.memories.list({ limit: PAGE, ...(path ? { key_prefix: path } : {}) }).all();
    return new Map(listed.filter((memory) => memory.key).map((memory) => [memory.key as string, entryOf(memory)]));
  }

  /** Return a file. Throws Refused if it does not exist or is a directory. */
  async file(name: string): Promise<Entry & { text: string }> {
    const path = located(name);
    const entry = path === "" ? { path, text: undefined, version: 0 } : await this.#entry(path);
    if (entry === undefined) throw missing(name);
    if (entry.text === undefined) throw new Refused(`The path ${name} is not a file.`);
    return entry as Entry & { text: string };
  }

  /** Store a new file, and the directories above it. Throws Refused if the file exists or cannot be created. */
  async create(name: string, text: string): Promise<void> {
    const path = located(name);
    await this.makeParents(path);
    if (path === "" || !(await this.#store(path, text))) throw new Refused(`File ${name} already exists`);
  }

  /**
   * Change the text of a file. If another client has changed it in the meantime, apply the change to the new text.
   * Throws Refused if the file does not exist, or if others keep changing it.
   */
  async change<Result>(name: string, apply: (text: string) => { text: string; result: Result }): Promise<Result> {
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      const entry = await this.file(name);
      const { text, result } = apply(entry.text);
      if (await this.#store(entry.path, text, entry.version)) return result;
    }
    throw new Refused(`The file ${name} is being changed by others. View it, and try again.`);
  }

  /** Delete a file, or a directory with everything in it. Throws Refused if it does not exist. */
  async delete(name: string): Promise<void> {
    const path = located(name);
    if (path === "") throw new Refused(`Cannot delete ${ROOT_MUST_STAY}`);
    const keys = [...(await this.below(path)).keys()];
    if (keys.length === 0) throw new Refused(`The path ${name} does not exist`);
    for (let start = 0; start < keys.length; start += PAGE) {
      await this.memories.deleteMany({ keys: keys.slice(start, start + PAGE) });
    }
  }

  /** Move a file, or a directory with everything in it. Throws Refused if that is impossible. */
  async rename(name: string, newName: string): Promise<void> {
    const [path, target] = [located(name), located(newName)];
    if (path === "") throw new Refused(`Cannot rename ${ROOT_MUST_STAY}`);
    if (target === "" || (await this.below(target)).size > 0) throw new Refused(`The destination ${newName} already exists`);
    await this.makeParents(target);
    const entries = await this.below(path);
    if (entries.size === 0) throw new Refused(`The path ${name} does not exist`);
    if (target.startsWith(`${path}/`)) throw new Refused(`Cannot move ${name} into itself`);
    for (const entry of entries.values()) await this.#move(entry, target + entry.path.slice(path.length));
  }

  /** Store the missing directories above a path. Throws Refused if one of them is a file. */
  async makeParents(path: string): Promise<void> {
    const segments = path.split("/");
    const parents = segments.slice(1).map((_, index) => segments.slice(0, index + 1).join("/"));
    if (parents.length === 0) return;
    const found = await this.memories.getMany({ keys: parents });
    for (const [index, parent] of parents.entries()) {
      const memory = found[index]?.memory;
      if (!memory) await this.#store(parent, undefined);
      else if (entryOf(memory).text !== undefined) throw new Refused(`${ROOT}/${parent} is not a directory`);
    }
  }

  async #entry(key: string): Promise<Entry | undefined> {
    try {
      return entryOf(await this.memories.get({ key }));
    } catch (error) {
      if (error instanceof NotFound) return undefined;
      throw error;
    }
  }

  /** Store an entry if it still has this version or, without a version, if it does not exist. Return whether it was stored. */
  async #store(key: string, text: string | undefined, if_version?: number): Promise<boolean> {
    try {
      const condition = if_version === undefined ? { if_absent: true } : { if_version };
      await this.memories.store(text === undefined ? {} : { text }, { key, ...condition });
      return true;
    } catch (error) {
      if (error instanceof PreconditionFailed) return false;
      throw error;
    }
  }

  /** Move an entry. The new path is stored first, with any concurrent changes, so that the text is never missing. */
  async #move(entry: Entry, path: string): Promise<void> {
    if (!(await this.#store(path, entry.text))) throw new Refused(`The destination ${ROOT}/${path} already exists`);
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      if (await this.#deleted(entry)) return;
      const current = await this.#entry(entry.path);
      if (current === undefined) return;
      const moved = await this.#entry(path);
      await this.#store(path, current.text, moved?.version);
      entry = current;
    }
    throw new Refused(`The file ${ROOT}/${entry.path} is being changed by others. View it, and try again.`);
  }

  async #deleted(entry: Entry): Promise<boolean> {
    try {
      await this.memories.delete({ key: entry.path }, { if_version: entry.version });
      return true;
    } catch (error) {
      if (error instanceof PreconditionFailed) return false;
      throw error;
    }
  }
}

export const missing = (name: string): Refused => new Refused(`The path ${name} does not exist. Please provide a valid path.`);

function entryOf(memory: MemoryOut): Entry {
  const text = memory.payload["text"];
  return { path: memory.key as string, text: typeof text === "string" ? text : undefined, version: memory.version };
}
