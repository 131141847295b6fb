import type { MemoryToolHandlers } from "@anthropic-ai/sdk/helpers/beta/memory";
import type { Client } from "./client.js";
import { type Entry, located, MemoryFiles, missing, Refused } from "./memory-files.js";

export { Refused } from "./memory-files.js";

type Command<Name extends keyof MemoryToolHandlers> = Parameters<MemoryToolHandlers[Name]>[0];

const DEPTH = 2; // levels shown in a directory listing
const MAX_LINES = 999_999;
const DIRECTORY_SIZE = "4K"; // as in most file systems

/**
 * The files of Claude's memory tool (`memory_20250818`). Each file is a memory whose key is the path under `/memories`,
 * so its text can be searched. Results use the wording of Anthropic's tool for local files. A change is stored only
 * if the file has not changed since it was read, so concurrent agents do not lose changes.
 *
 *     const tools = [betaMemoryTool(new SomaMemoryTool(new Client(), "users/ada/files"))];
 *     await anthropic.beta.messages.toolRunner({ model, messages, tools, max_tokens });
 *
 * Use a separate namespace per user, because files have no user id.
 */
export class SomaMemoryTool implements MemoryToolHandlers {
  readonly #files: MemoryFiles;

  constructor(client: Client, namespace: string) {
    this.#files = new MemoryFiles(client.namespace(namespace).memories);
  }

  async view({ path: name, view_range }: Command<"view">): Promise<string> {
    const path = located(name);
    const entries = await this.#files.below(path);
    const entry = entries.get(path);
    if (entry === undefined && path !== "" && entries.size === 0) throw missing(name);
    if (entry?.text !== undefined) return numbered(name, entry.text, view_range ?? undefined);
    const header = `Here're the files and directories up to 2 levels deep in ${name}, excluding hidden items and node_modules:`;
    const lines = listing(path, [...entries.values()]).map((item) => `${item.size}\t${name}/${item.name}`);
    return [header, `${DIRECTORY_SIZE}\t${name}`, ...lines].join("\n");
  }

  async create({ path, file_text }: Command<"create">): Promise<string> {
    await this.#files.create(path, file_text);
    return `File created successfully at: ${path}`;
  }

  async str_replace({ path, old_str, new_str }: Command<"str_replace">): Promise<string> {
    return this.#files.change(path, (text) => {
      const at = onlyLine(path, text, old_str);
      const changed = text.replace(old_str, () => new_str ?? "");
      return { text: changed, result: snippet(changed, at) };
    });
  }

  async insert({ path, insert_line, insert_text }: Command<"insert">): Promise<string> {
    return this.#files.change(path, (text) => {
      const lines = text.split("\n");
      if (insert_line < 0 || insert_line > lines.length) {
        throw new Refused(
          `Invalid \`insert_line\` parameter: ${insert_line}. It should be within the range of lines of the file: [0, ${lines.length}]`,
        );
      }
      lines.splice(insert_line, 0, insert_text.replace(/\n$/, ""));
      return { text: lines.join("\n"), result: `The file ${path} has been edited.` };
    });
  }

  async delete({ path }: Command<"delete">): Promise<string> {
    await this.#files.delete(path);
    return `Successfully deleted ${path}`;
  }

  async rename({ old_path, new_path }: Command<"rename">): Promise<string> {
    await this.#files.rename(old_path, new_path);
    return `Successfully renamed ${old_path} to ${new_path}`;
  }
}

interface Item {
  name: string;
  size: string;
}

/** Return the visible items of a directory. A directory precedes its contents. */
function listing(path: string, entries: Entry[]): Item[] {
  const sizes = new Map<string, string>();
  for (const entry of entries) {
    const parts = entry.path.slice(path.length).split("/").filter(Boolean);
    if (parts.some((part) => part.startsWith(".") || part === "node_modules")) continue;
    for (let depth = 1; depth < Math.min(parts.length, DEPTH + 1); depth++) sizes.set(`${parts.slice(0, depth).join("/")}/`, DIRECTORY_SIZE);
    if (parts.length === 0 || parts.length > DEPTH) continue;
    if (entry.text === undefined) sizes.set(`${parts.join("/")}/`, DIRECTORY_SIZE);
    else sizes.set(parts.join("/"), sizeOf(entry.text));
  }
  const segments = (name: string): string[] => name.replace(/\/$/, "").split("/");
  const compare = (one: string[], other: string[]): number => {
    const at = one.findIndex((segment, index) => segment !== other[index]);
    if (at < 0) return one.length - other.length;
    const [left, right] = [one[at] as string, other[at]];
    return right === undefined || left > right ? 1 : -1;
  };
  const names = [...sizes.keys()].sort((one, other) => compare(segments(one), segments(other)));
  return names.map((name) => ({ name, size: sizes.get(name) as string }));
}

function sizeOf(text: string): string {
  const bytes = new TextEncoder().encode(text).length;
  const unit = bytes === 0 ? 0 : Math.floor(Math.log(bytes) / Math.log(1024));
  const size = bytes / 1024 ** unit;
  return `${Number.isInteger(size) ? size : size.toFixed(1)}${"BKMG"[unit]}`;
}

const line = (number: number, text: string): string => `${String(number).padStart(String(MAX_LINES).length)}\t${text}`;

function numbered(name: string, text: string, range?: readonly number[]): string {
  const lines = text.split("\n");
  if (lines.length > MAX_LINES) {
    throw new Refused(`File ${name} has too many lines (${lines.length}). Maximum is ${MAX_LINES.toLocaleString()} lines.`);
  }
  const [first, last] = range?.length === 2 ? (range as [number, number]) : [1, -1];
  const start = Math.max(1, first) - 1;
  const shown = lines.slice(start, last === -1 ? lines.length : last);
  return `Here's the content of ${name} with line numbers:\n${shown.map((text, index) => line(start + index + 1, text)).join("\n")}`;
}

/** Return the index of the only line that contains a text. Throws Refused unless there is exactly one such line. */
function onlyLine(name: string, text: string, old: string): number {
  const found = text.split("\n").flatMap((line, index) => (line.includes(old) ? [index] : []));
  if (found.length > 1) {
    const lines = found.map((index) => index + 1).join(", ");
    throw new Refused(
      `No replacement was performed. Multiple occurrences of old_str \`${old}\` in lines: ${lines}. Please ensure it is unique`,
    );
  }
  if (found[0] === undefined) {
    throw new Refused(`No replacement was performed, old_str \`${old}\` did not appear verbatim in ${name}.`);
  }
  return found[0];
}

function snippet(text: string, changed: number): string {
  const start = Math.max(0, changed - 2);
  const lines = text.split("\n").slice(start, changed + 3);
  const head = "The memory file has been edited. Here is the snippet showing the change (with line numbers):";
  return [head, ...lines.map((text, index) => line(start + index + 1, text))].join("\n");
}
