/** One page of a list, and the cursor for the next one. */
export interface PageOf<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

/** A list that is read page by page. Iterate over it with `for await`, or read one page with `await list.page()`. */
export class Pages<T> implements AsyncIterable<T> {
  readonly #read: (cursor: string | undefined) => Promise<PageOf<T>>;

  constructor(read: (cursor: string | undefined) => Promise<PageOf<T>>) {
    this.#read = read;
  }

  /** Return the first page, or the page at a cursor. */
  page(cursor?: string): Promise<PageOf<T>> {
    return this.#read(cursor);
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    let cursor: string | undefined;
    do {
      const page = await this.#read(cursor);
      yield* page.items;
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** Return all items, up to `limit`. */
  async all(limit = Number.POSITIVE_INFINITY): Promise<T[]> {
    const items: T[] = [];
    if (limit <= 0) return items;
    for await (const item of this) if (items.push(item) >= limit) break;
    return items;
  }
}
