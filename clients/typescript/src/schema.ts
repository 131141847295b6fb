// Generated from the OpenAPI document by `npm run generate`. Do not edit.
export interface components {
  schemas: {
    ArchivedOut: {
      /** @description number of archived conversations */
      archived: number;
      /** @description ids of the conversations */
      conversation_ids: string[];
    };
    AuditOut: {
      /** @description type of change, such as `memory.store` */
      action: string;
      /** @description who made the change, such as `key:PREFIX` */
      actor: string;
      /** @description IP address of the caller */
      address: string;
      /** @description SHA-256 of the object's state after the change */
      after_hash: string | null;
      /** @description time of the change */
      at: string;
      /** @description SHA-256 of the object's state before the change */
      before_hash: string | null;
      /** @description unique id */
      id: number;
      /** @description namespace of the memory */
      namespace: string;
      /** @description id of the request, as in the log */
      request_id: string;
      /** @description whether the row is part of the signed chain */
      sealed: boolean;
      /** @description identifier of the changed object, such as a coordinate */
      target: string;
    };
    AuditPageOut: {
      /** @description items on this page */
      items: components["schemas"]["AuditOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
    };
    BulkDeletedOut: {
      /** @description number of deleted memories */
      deleted: number;
      /** @description results, in order */
      results: components["schemas"]["DeletedOut"][];
    };
    BulkFound: {
      /** @description coordinate as text */
      coord?: string | null;
      /** @description unique id */
      id?: string | null;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key?: string | null;
      /** @description the memory; null if there is none */
      memory: components["schemas"]["MemoryOut"] | null;
    };
    BulkGotOut: {
      /** @description memories, in the order of the request */
      items: components["schemas"]["BulkFound"][];
      /** @description Set if the memories are too large for one response: the position in the request to continue from. */
      next_index?: number | null;
    };
    BulkLinkBody: {
      /** @description true: process all items or none */
      atomic?: boolean;
      /** @description links, each like NamedLinkBody */
      links: {
        [key: string]: unknown;
      }[];
    };
    BulkLinkedOut: {
      /** @description number of failed items */
      failed: number;
      /** @description results, in order */
      results: components["schemas"]["BulkLinkResult"][];
      /** @description number of stored items */
      stored: number;
    };
    BulkLinkResult: {
      /** @description reason for the failure */
      error?: {
        [key: string]: unknown;
      } | null;
      /** @description start of the link */
      from_coord?: string | null;
      /** @description position in the request, counted from 0 */
      index: number;
      /** @description type of the link */
      link_type?: string | null;
      /** @description HTTP status of this item */
      status: number;
      /** @description end of the link */
      to_coord?: string | null;
    };
    /** @description The names of several memories: coordinates, keys or ids. Ids need no namespace. */
    BulkNamesBody: {
      /** @description coordinates of the memories */
      coords?: (string | number[])[] | null;
      /** @description ids of the memories, in any namespace unless `namespace` is given */
      ids?: string[] | null;
      /** @description keys of the memories */
      keys?: string[] | null;
      /** @description namespace of the memories */
      namespace?: string | null;
    };
    BulkResult: {
      /** @description coordinate as text */
      coord: string | null;
      /** @description reason for the failure */
      error?: {
        [key: string]: unknown;
      } | null;
      /** @description unique id */
      id?: string | null;
      /** @description position in the request, counted from 0 */
      index: number;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key?: string | null;
      /** @description HTTP status of this item */
      status: number;
      /** @description version number, increased by each change; also the value of the `ETag` */
      version?: number | null;
    };
    BulkStoreBody: {
      /** @description true: process all items or none */
      atomic?: boolean;
      /** @description memories, each like StoreBody */
      items: {
        [key: string]: unknown;
      }[];
    };
    BulkStoredOut: {
      /** @description number of failed items */
      failed: number;
      /** @description results, in order */
      results: components["schemas"]["BulkResult"][];
      /** @description number of stored items */
      stored: number;
    };
    /** @description The memories in one cell of a grid (`column`, `row`), or at and below one coordinate (`coord`). */
    CellOut: {
      /** @description column of the cell */
      column?: number | null;
      /** @description coordinate as text */
      coord?: string | null;
      /** @description coordinate as numbers */
      coordinate?: number[] | null;
      /** @description number of memories */
      count: number;
      /** @description mean importance */
      importance: number;
      /** @description highest importance */
      max_importance: number;
      /** @description row of the cell */
      row?: number | null;
    };
    ChangedOut: {
      /** @description agent to which the conversation belongs */
      agent_id: string | null;
      /** @description id of the conversation */
      conversation_id: string;
      /** @description creation time */
      created_at: string;
      /** @description your own id for the conversation; 1 to 255 characters, without slashes */
      external_id: string | null;
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string;
      /** @description unique id */
      id: string;
      /** @description importance of the conversation, 1 to 10 */
      importance_score: number;
      /** @description label of the conversation */
      label: string;
      /** @description source of an automatic label; null if a client set the label, or if there is no label */
      labelled_by: string | null;
      /** @description number of messages */
      message_count: number;
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description number of the conversation, which is the first number in its messages' coordinates */
      number: number;
      /** @description session to which the conversation belongs */
      session_id: string | null;
      /**
       * @description status of the conversation
       * @enum {string}
       */
      status: "active" | "pinned" | "archived";
      /** @description always true */
      success: boolean;
      /**
       * @description storage tier of the messages
       * @enum {string}
       */
      tier: "active" | "archived" | "cold";
      /** @description time of the last change */
      updated_at: string;
      /** @description user to whom the conversation belongs */
      user_id: string | null;
      /** @description number of words */
      word_count: number;
    };
    CheckOut: {
      /** @description response time in milliseconds */
      latency_ms: number;
      /**
       * @description whether the component responds
       * @enum {string}
       */
      status: "healthy" | "unhealthy";
    };
    /** @description The source of one item in the text. */
    CitationOut: {
      /** @description id of the conversation */
      conversation_id: string | null;
      /** @description coordinate as text */
      coord: string;
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string;
      /** @description unique id */
      id: string;
      /** @description label of the conversation */
      label: string;
      /** @description namespace of the item */
      namespace: string;
      /** @description number of the item in the text */
      number: number;
      /** @description origin of the item: its `source` and `trust`, as provided by the client */
      provenance: components["schemas"]["ProvenanceOut"];
      /** @description probability that this item is useful, 0 to 1; null if no search found it */
      relevance: number | null;
      /** @description author of the message: `user`, `assistant`, `system`, `developer` or `tool` */
      role: string;
      /** @description time at which the message was sent */
      timestamp: string;
    };
    ContextAssembleQuery: {
      /** @description true: return scores, costs and reasons */
      manifest?: boolean;
    };
    ContextBody: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description time from which recency is measured; default: the start of the current hour */
      as_of?: string | null;
      /** @description maximum number of tokens in the context */
      context_budget?: number;
      /** @description only this conversation */
      conversation_id?: string | null;
      /** @description leave out the conversation `conversation_id` and all conversations in the session `session_id` */
      exclude_current_session?: boolean;
      /** @description leave out conversations in these folders */
      excluded_folders?: string[];
      /** @description conditions on messages and memories */
      filters?: {
        [key: string]: unknown;
      } | null;
      /** @description only conversations in this folder and its subfolders */
      folder?: string | null;
      /**
       * @description `items`: a list of messages with their metadata; `text`: a single string for a prompt; `messages`: messages for a model
       * @enum {string}
       */
      format?: "items" | "messages" | "text";
      /** @description include messages from archived conversations */
      include_archived?: boolean;
      /** @description leave out items with a lower relevance; default: the context is empty unless an item reaches 0.3 */
      min_relevance?: number | null;
      /** @description also search the memories in these namespaces; the namespace `facts` contains the facts extracted from conversations */
      namespaces?: string[];
      /**
       * @description order of the messages
       * @enum {string}
       */
      order?: "relevance" | "chronological";
      /** @description prefer conversations with these labels */
      preferred_labels?: string[];
      /** @description text to search for */
      query: string;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description true: shorten a message that does not fit */
      truncate?: boolean;
      /** @description only this user's data */
      user_id?: string | null;
    };
    ContextItemOut: {
      /** @description text of the message */
      content: string;
      /** @description parts of the content, as sent */
      content_parts?: {
        [key: string]: unknown;
      }[] | null;
      /** @description id of the conversation */
      conversation_id: string | null;
      /** @description coordinate as text */
      coord: string;
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string;
      /** @description unique id */
      id: string;
      /** @description importance of the memory, 0 to 10 */
      importance: number;
      /** @description label of the conversation */
      label: string;
      /** @description metadata of the message */
      metadata: {
        [key: string]: unknown;
      };
      /** @description name of the speaker or tool */
      name?: string | null;
      /** @description namespace of the item */
      namespace: string;
      /** @description origin of the item: its `source` and `trust`, as provided by the client */
      provenance: components["schemas"]["ProvenanceOut"];
      /** @description probability that this item is useful, 0 to 1; null if no search found it */
      relevance: number | null;
      /** @description author of the message: `user`, `assistant`, `system`, `developer` or `tool` */
      role: string;
      /** @description components of the score */
      scores: components["schemas"]["ContextScores"];
      /** @description source of the candidate */
      source: string;
      /** @description time at which the message was sent */
      timestamp: string;
      /** @description number of tokens */
      tokens: number;
      /** @description id of the tool call that this message answers */
      tool_call_id?: string | null;
      /** @description tool calls, in the format used by model APIs */
      tool_calls?: {
        [key: string]: unknown;
      }[] | null;
      /** @description whether the message was shortened */
      truncated: boolean;
      /** @description position in the conversation, starting at 1 */
      turn: number | null;
    };
    /**
     * @description A message in a context. `metadata.citation` identifies its source by `label`, `folder` and `timestamp`.
     *
     *     For an item that is not from a conversation, `conversation_id` and `turn` are null, and `label` and `folder` are
     *     empty.
     */
    ContextMessageOut: {
      /** @description text of the message */
      content: string;
      /** @description parts of the content, as sent */
      content_parts?: {
        [key: string]: unknown;
      }[] | null;
      /** @description id of the conversation */
      conversation_id: string | null;
      /** @description coordinate as text */
      coord: string;
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string;
      /** @description unique id */
      id: string;
      /** @description importance of the memory, 0 to 10 */
      importance: number;
      /** @description label of the conversation */
      label: string;
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description name of the speaker or tool */
      name?: string | null;
      /** @description namespace of the item */
      namespace: string;
      /** @description origin of the item: its `source` and `trust`, as provided by the client */
      provenance: components["schemas"]["ProvenanceOut"];
      /** @description probability that this item is useful, 0 to 1; null if no search found it */
      relevance: number | null;
      /** @description author of the message: `user`, `assistant`, `system`, `developer` or `tool` */
      role: string;
      /** @description time at which the message was sent */
      timestamp: string;
      /** @description id of the tool call that this message answers */
      tool_call_id?: string | null;
      /** @description tool calls, in the format used by model APIs */
      tool_calls?: {
        [key: string]: unknown;
      }[] | null;
      /** @description position in the conversation, starting at 1 */
      turn: number | null;
    };
    /** @description A context as a single string, or as messages for a model. */
    ContextPromptOut: {
      /** @description time from which recency was measured */
      as_of: string;
      /** @description requested budget in tokens */
      budget: number;
      /** @description source of each numbered item */
      citations: components["schemas"]["CitationOut"][];
      /** @description hash of the query and the chosen messages */
      context_hash: string;
      /** @description components that were unavailable or incomplete; normally empty */
      degraded: string[];
      /** @description messages for a model */
      messages?: {
        [key: string]: string;
      }[] | null;
      /** @description text for a prompt */
      text?: string | null;
      /** @description number of tokens in the context */
      used_tokens: number;
    };
    ContextScores: {
      /** @description importance, 0 to 1 */
      importance: number;
      /** @description 1 if the conversation has a preferred label, otherwise 0 */
      label: number;
      /** @description recency, 0 to 1 */
      recency: number;
      /** @description contribution of the search score, 0 to 1 */
      relevance: number;
      /** @description weighted mean of the other scores */
      total: number;
    };
    ConversationBody: {
      /** @description agent to which the conversation belongs */
      agent_id?: string | null;
      /** @description folder of the conversation, such as `/work/notes` */
      folder?: string | null;
      /** @description importance of the conversation, 1 to 10 */
      importance_score?: number | null;
      /** @description label of the conversation */
      label?: string | null;
      /** @description messages, in order */
      messages?: components["schemas"]["MessageBody"][];
      /** @description any JSON object */
      metadata?: {
        [key: string]: unknown;
      } | null;
      /** @description session to which the conversation belongs */
      session_id?: string | null;
      /** @description user to whom the conversation belongs; 1 to 255 characters */
      user_id?: string | null;
    };
    ConversationDeletedOut: {
      /** @description unique id */
      id: string;
      /** @description always true */
      success: boolean;
    };
    ConversationIdBody: {
      /**
       * Format: uuid
       * @description id of the conversation
       */
      conversation_id: string;
    };
    ConversationIdsBody: {
      /** @description ids of the conversations */
      conversation_ids: string[];
    };
    ConversationOut: {
      /** @description agent to which the conversation belongs */
      agent_id: string | null;
      /** @description id of the conversation */
      conversation_id: string;
      /** @description creation time */
      created_at: string;
      /** @description your own id for the conversation; 1 to 255 characters, without slashes */
      external_id: string | null;
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string;
      /** @description unique id */
      id: string;
      /** @description importance of the conversation, 1 to 10 */
      importance_score: number;
      /** @description label of the conversation */
      label: string;
      /** @description source of an automatic label; null if a client set the label, or if there is no label */
      labelled_by: string | null;
      /** @description number of messages */
      message_count: number;
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description number of the conversation, which is the first number in its messages' coordinates */
      number: number;
      /** @description session to which the conversation belongs */
      session_id: string | null;
      /**
       * @description status of the conversation
       * @enum {string}
       */
      status: "active" | "pinned" | "archived";
      /**
       * @description storage tier of the messages
       * @enum {string}
       */
      tier: "active" | "archived" | "cold";
      /** @description time of the last change */
      updated_at: string;
      /** @description user to whom the conversation belongs */
      user_id: string | null;
      /** @description number of words */
      word_count: number;
    };
    /** @description Omitted fields are left unchanged. Null resets a field to its default. */
    ConversationPatch: {
      /** @description agent to which the conversation belongs */
      agent_id?: string | null;
      /** @description folder of the conversation, such as `/work/notes` */
      folder?: string | null;
      /** @description importance of the conversation, 1 to 10 */
      importance_score?: number | null;
      /** @description label of the conversation */
      label?: string | null;
      /** @description any JSON object */
      metadata?: {
        [key: string]: unknown;
      } | null;
      /** @description session to which the conversation belongs */
      session_id?: string | null;
      /** @description status of the conversation */
      status?: ("active" | "pinned" | "archived") | null;
      /** @description user to whom the conversation belongs; 1 to 255 characters */
      user_id?: string | null;
    };
    ConversationsCountQuery: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description only conversations in this folder and its subfolders */
      folder?: string | null;
      /** @description only conversations with this label */
      label?: string | null;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description only this user's data */
      user_id?: string | null;
    };
    ConversationsDeleteQuery: {
      /** @description true: delete permanently */
      purge?: boolean;
    };
    ConversationsExportQuery: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description only conversations in this folder and its subfolders */
      folder?: string | null;
      /**
       * @description format of the export
       * @enum {string}
       */
      format?: "json" | "jsonl" | "markdown";
      /** @description only conversations with this label */
      label?: string | null;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description only this user's data */
      user_id?: string | null;
    };
    ConversationsImportQuery: {
      /** @description true: report the result and store nothing */
      dry_run?: boolean;
      /** @description file name; without its extension, the label of a Markdown or text file that has no title */
      name?: string;
      /**
       * @description format of the file; `auto` detects it
       * @enum {string}
       */
      source?: "auto" | "chatgpt" | "claude" | "soma" | "messages" | "markdown" | "text";
    };
    ConversationsListDeletedQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
    };
    ConversationsListMessagesByExternalIdQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
    };
    ConversationsListMessagesQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
    };
    ConversationsListQuery: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description true: only archived conversations; false: only conversations that are not archived */
      archived?: boolean | null;
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description only conversations in this folder and its subfolders */
      folder?: string | null;
      /** @description only conversations with this label */
      label?: string | null;
      /** @description number of items per page */
      limit?: number | null;
      /** @description page number, starting at 1 */
      page?: number | null;
      /** @description number of items per page */
      page_size?: number | null;
      /** @description true: only pinned conversations; false: only conversations that are not pinned */
      pinned?: boolean | null;
      /** @description only conversations whose label contains this text, ignoring case */
      q?: string | null;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description only conversations with this status */
      status?: ("active" | "pinned" | "archived") | null;
      /** @description only this user's data */
      user_id?: string | null;
    };
    ConversationsOut: {
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
      /** @description page number, starting at 1 */
      page: number;
      /** @description number of items per page */
      page_size: number;
      /** @description results, in order */
      results: components["schemas"]["ListedOut"][];
      /** @description total number of conversations */
      total: number;
    };
    CountOut: {
      /** @description number of conversations */
      count: number;
      /** @description folder from the request */
      folder: string | null;
      /** @description label from the request */
      label: string | null;
    };
    CoversOut: {
      /** @description days that the summary covers */
      days: string[];
      /** @description first turn */
      first_turn: number;
      /** @description first day */
      from: string;
      /** @description last turn */
      last_turn: number;
      /** @description number of messages that were left out */
      left_out: number;
      /** @description number of messages */
      messages: number;
      /** @description last day */
      to: string;
    };
    /** @description A deleted conversation. */
    DeletedConversationOut: {
      /** @description the conversation as it was; null if it was deleted by an older release and cannot be restored */
      conversation: components["schemas"]["ConversationOut"] | null;
      /** @description deletion time */
      deleted_at: string;
      /** @description id of the conversation */
      id: string;
      /** @description time until which the conversation can be restored */
      restorable_until: string;
    };
    DeletedConversationsOut: {
      /** @description deleted conversations, most recently deleted first */
      items: components["schemas"]["DeletedConversationOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
    };
    DeletedMatchingOut: {
      /** @description false: more memories match, so send the request again */
      complete: boolean;
      /** @description number of memories that were deleted or, with `dry_run`, would be deleted */
      deleted: number;
      /** @description true: nothing was deleted */
      dry_run: boolean;
    };
    DeletedOut: {
      /** @description coordinate as text */
      coord?: string | null;
      /** @description whether there was a memory to delete */
      deleted: boolean;
      /** @description unique id */
      id?: string | null;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key?: string | null;
    };
    /** @description All conditions must match. Without any condition, `all` must be true. */
    DeleteMatchingBody: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description true: allow a deletion without any condition */
      all?: boolean;
      /** @description only items created before this time */
      created_before?: string | null;
      /** @description true: only count the memories */
      dry_run?: boolean;
      /** @description only memories that match this filter (grammar) */
      filters?: {
        [key: string]: unknown;
      } | null;
      /** @description delete at most this many memories */
      limit?: number;
      /** @description only memories of this type */
      memory_type?: ("episodic" | "semantic") | null;
      /** @description one or more namespaces */
      namespace?: string | string[];
      /** @description instead of `namespace`: all namespaces at or below this one, at most 100; `users/ada` covers `users/ada/notes`, but not `users/adam` */
      namespace_prefix?: string | null;
      /** @description only items at or below this coordinate */
      prefix?: (string | number[]) | null;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description only this user's data */
      user_id?: string | null;
    };
    DeleteNamespaceBody: {
      /** @description true: also delete the namespaces below `namespace`, at most 100 */
      below?: boolean;
      /** @description namespace to delete */
      namespace: string;
      /** @description true: permanently delete all memories and links */
      purge?: boolean;
    };
    ErasedOut: {
      /** @description whether all stores could be reached */
      complete: boolean;
      /** @description number of erased vectors, files and cache entries, by kind */
      elsewhere: {
        [key: string]: number;
      };
      /** @description time of the erasure */
      erased_at: string;
      /** @description id of the tenant */
      id: string;
      /** @description stores that could not be reached */
      missing: string[];
      /** @description number of erased rows per table */
      rows: {
        [key: string]: number;
      };
      /** @description identifier of the tenant in URLs */
      slug: string;
      /** @description total number of erased rows and other items */
      total: number;
    };
    /** @description Follow links from the best hits, in both directions. */
    ExpandBody: {
      /** @description maximum number of hops */
      hops?: number;
      /** @description follow only links of these types */
      link_type?: string | string[] | null;
      /** @description weight of the `graph` score */
      weight?: number;
    };
    ExportedLink: {
      /** @description start of the link */
      from_coord: string;
      /** @description type of the link */
      link_type: string;
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description namespace of the link */
      namespace: string;
      /** @description strength of the link, 0 to 1 */
      strength: number;
      /** @description end of the link */
      to_coord: string;
      /** @description start of the validity period; null: no start */
      valid_from: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to: string | null;
    };
    ExportOut: {
      /** @description links */
      links: components["schemas"]["ExportedLink"][];
    };
    /**
     * @description Progress of an extraction.
     *
     *     `left_out` counts facts that were discarded because they cite none of the messages that were read. `cut` counts
     *     messages that were only partly read, or skipped because the language model always fails on them.
     */
    ExtractionOut: {
      /** @description id of the conversation */
      conversation_id: string;
      /** @description number of messages that were skipped, or were too long to be read completely */
      cut: number;
      /** @description time of the next attempt */
      due_at: string | null;
      /** @description reason for the failure */
      error: string | null;
      /** @description number of facts */
      facts: number;
      /** @description last turn of the conversation */
      last_turn: number;
      /** @description number of discarded facts */
      left_out: number;
      /** @description last turn that was processed */
      read_to_turn: number;
      /**
       * @description current state
       * @enum {string}
       */
      state: "none" | "queued" | "running" | "waiting" | "failed" | "done";
    };
    FactOut: {
      /** @description coordinate as text */
      coord: string;
      /** @description names that the fact mentions */
      entities: string[];
      /** @description the fact as one sentence */
      fact: string;
      /** @description unique id */
      id: string;
      /** @description model that extracted the fact */
      model: string;
      /** @description time at which the fact was stated */
      timestamp: string;
      /** @description turn that states the fact */
      turn: number;
    };
    FactsListQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
    };
    FactsOut: {
      /** @description id of the conversation */
      conversation_id: string;
      /** @description number of messages that were skipped, or were too long to be read completely */
      cut: number;
      /** @description time of the next attempt */
      due_at: string | null;
      /** @description reason for the failure */
      error: string | null;
      /** @description number of facts */
      facts: number;
      /** @description items on this page */
      items: components["schemas"]["FactOut"][];
      /** @description last turn of the conversation */
      last_turn: number;
      /** @description number of discarded facts */
      left_out: number;
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
      /** @description last turn that was processed */
      read_to_turn: number;
      /**
       * @description current state
       * @enum {string}
       */
      state: "none" | "queued" | "running" | "waiting" | "failed" | "done";
    };
    FieldProblem: {
      /** @description name of the field */
      field: string;
      /** @description problem and remedy */
      message: string;
    };
    FolderBody: {
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string | null;
    };
    FoundOut: {
      /** @description agent to which the memory belongs */
      agent_id: string | null;
      /** @description coordinate as text */
      coord: string;
      /** @description coordinate as numbers */
      coordinate: number[];
      /** @description creation time */
      created_at: string;
      /** @description unique id */
      id: string;
      /** @description importance of the memory, 0 to 10 */
      importance: number;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key: string | null;
      /**
       * @description an event (`episodic`) or a fact (`semantic`)
       * @enum {string}
       */
      memory_type: "episodic" | "semantic";
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description namespace of the memory */
      namespace: string;
      /** @description content of the memory: any JSON object */
      payload: {
        [key: string]: unknown;
      };
      /** @description probability that this memory is useful, 0 to 1 */
      relevance: number;
      /** @description score, 0 to 1; higher is better */
      score: number;
      /** @description components of the score */
      scores?: {
        [key: string]: number | null;
      } | null;
      /** @description session to which the memory belongs */
      session_id: string | null;
      /** @description who or what wrote the memory, and from where: a string or an object, as provided by the client */
      source: string | {
        [key: string]: unknown;
      } | null;
      /** @description how much the memory can be trusted, 0 to 1, as provided by the client */
      trust: number | null;
      /** @description user to whom the memory belongs */
      user_id: string | null;
      /** @description start of the validity period; null: no start */
      valid_from: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to: string | null;
      /** @description version number, increased by each change; also the value of the `ETag` */
      version: number;
    };
    FullTextBody: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description include messages from archived conversations */
      include_archived?: boolean;
      /** @description number of messages to return */
      limit?: number | null;
      /** @description number of items to skip */
      offset?: number | null;
      /** @description text to search for */
      query: string;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description only this user's data */
      user_id?: string | null;
    };
    FullTextOut: {
      /** @description components that were unavailable or incomplete; normally empty */
      degraded: string[];
      /** @description Set if the results are too large for one response: the `offset` to continue from. */
      next_offset?: number | null;
      /** @description results, in order */
      results: components["schemas"]["FullTextResultOut"][];
      /** @description number of messages that match */
      total: number;
    };
    FullTextResultOut: {
      /** @description text of the message */
      content: string;
      /** @description parts of the content, as sent */
      content_parts?: {
        [key: string]: unknown;
      }[] | null;
      /** @description id of the conversation */
      conversation_id: string;
      /** @description coordinate as text */
      coord: string;
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string;
      /** @description unique id */
      id: string;
      /** @description importance of the memory, 0 to 10 */
      importance: number;
      /** @description label of the conversation */
      label: string;
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description name of the speaker or tool */
      name?: string | null;
      /** @description rank, 0 to 1; higher is better */
      rank: number;
      /** @description author of the message: `user`, `assistant`, `system`, `developer` or `tool` */
      role: string;
      /** @description time at which the message was sent */
      timestamp: string;
      /** @description id of the tool call that this message answers */
      tool_call_id?: string | null;
      /** @description tool calls, in the format used by model APIs */
      tool_calls?: {
        [key: string]: unknown;
      }[] | null;
      /** @description position in the conversation, starting at 1 */
      turn: number;
    };
    GraphExportQuery: {
      /** @description Return only links that begin or end at one of these coordinates, separated by semicolons. */
      coords?: string | null;
      /**
       * @description format of the export
       * @enum {string}
       */
      format?: "graphml" | "json";
      /** @description namespace of the links */
      namespace?: string;
      /** @description only links within this subtree */
      prefix?: string | null;
    };
    GraphNeighborsQuery: {
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
      /** @description coordinate to start from; alternatively, identify a memory by `key` or `id` */
      coord?: string | null;
      /**
       * @description follow links forwards (`out`), backwards (`in`), or in both directions (`both`)
       * @enum {string}
       */
      direction?: "out" | "in" | "both";
      /** @description id of the memory to start from */
      id?: string | null;
      /** @description include the memory at each address */
      include_memory?: boolean;
      /** @description maximum number of hops */
      k_hop?: number;
      /** @description key of the memory to start from */
      key?: string | null;
      /** @description number of items per page */
      limit?: number;
      /** @description follow only links of these types, separated by commas */
      link_type?: string | null;
      /** @description leave out weaker links */
      min_strength?: number;
      /** @description namespace of the links */
      namespace?: string;
      /** @description number of items to skip */
      offset?: number;
      /** @description time at which links must be valid; default: `as_of`, or now */
      valid_at?: string | null;
    };
    GraphPathQuery: {
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
      /**
       * @description follow links forwards (`out`), backwards (`in`), or in both directions (`both`)
       * @enum {string}
       */
      direction?: "out" | "in" | "both";
      /** @description start of the path */
      from_coord?: string | null;
      /** @description start of the path: the id of a memory, instead of `from_coord` */
      from_id?: string | null;
      /** @description start of the path: the key of a memory, instead of `from_coord` */
      from_key?: string | null;
      /** @description follow only links of these types, separated by commas */
      link_type?: string | null;
      /** @description maximum number of hops */
      max_length?: number;
      /** @description leave out weaker links */
      min_strength?: number;
      /** @description namespace of the links */
      namespace?: string;
      /** @description end of the path */
      to_coord?: string | null;
      /** @description end of the path: the id of a memory, instead of `to_coord` */
      to_id?: string | null;
      /** @description end of the path: the key of a memory, instead of `to_coord` */
      to_key?: string | null;
      /** @description time at which links must be valid; default: `as_of`, or now */
      valid_at?: string | null;
      /** @description true: find the path with the lowest cost */
      weighted?: boolean;
    };
    GraphUnlinkQuery: {
      /** @description start of the link */
      from_coord?: string | null;
      /** @description start of the link: the id of a memory, instead of `from_coord` */
      from_id?: string | null;
      /** @description start of the link: the key of a memory, instead of `from_coord` */
      from_key?: string | null;
      /** @description type of the link */
      link_type?: string;
      /** @description namespace of the link */
      namespace?: string;
      /** @description end of the link */
      to_coord?: string | null;
      /** @description end of the link: the id of a memory, instead of `to_coord` */
      to_id?: string | null;
      /** @description end of the link: the key of a memory, instead of `to_coord` */
      to_key?: string | null;
    };
    HealthOut: {
      /** @description state of each component, by name */
      checks: {
        [key: string]: components["schemas"]["CheckOut"];
      };
      /** @description whether all components respond */
      healthy: boolean;
      /** @description components as a list */
      services: components["schemas"]["ServiceOut"][];
      /**
       * @description overall status
       * @enum {string}
       */
      status: "healthy" | "degraded" | "unhealthy";
      /** @description seconds since the server started */
      uptime_seconds: number;
      /** @description version of SomaMemory */
      version: string;
    };
    HealthzOut: {
      /** @description whether the database responded */
      graph_store: boolean;
      /** @description whether the database responded */
      kv_store: boolean;
      /** @description `ok` */
      status: string;
      /** @description whether the vector index responded */
      vector_store: boolean;
    };
    HistoryOut: {
      /** @description items on this page */
      items: components["schemas"]["VersionOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
    };
    ImportErrorOut: {
      /** @description location in the file */
      place: string;
      /** @description why this part could not be read */
      reason: string;
    };
    ImportOut: {
      /** @description number of conversations, by result */
      conversations: {
        [key: string]: number;
      };
      /** @description whether this was a dry run, which stores nothing */
      dry_run: boolean;
      /** @description parts that could not be read, with their location */
      errors: components["schemas"]["ImportErrorOut"][];
      /** @description number of failed items */
      failed: number;
      /** @description number of items that were left out, by kind */
      left_out: {
        [key: string]: number;
      };
      /** @description number of new messages */
      messages: number;
    };
    IndexStats: {
      /** @description number of dimensions of a vector */
      dimension: number;
      /** @description number of memories that could not be indexed */
      failed: number;
      /** @description id of the active embedding generation */
      generation: string;
      /** @description embedding model */
      model: string;
      /** @description seconds for which the oldest pending memory has been waiting */
      oldest_due_seconds: number;
      /** @description number of memories waiting to be indexed */
      pending: number;
      /** @description number of indexed memories */
      ready: number;
    };
    IssuedKeyOut: {
      /** @description creation time */
      created_at: string;
      /** @description expiry time */
      expires_at: string | null;
      /** @description the secret; it is shown only once */
      key: string;
      /** @description time of the last use, to the hour; null if the key has never been used */
      last_used_at: string | null;
      /** @description description of the key */
      name: string;
      /** @description namespaces that the key can use; empty: all */
      namespaces: string[];
      /** @description first characters of the key, after `soma_` */
      prefix: string;
      /** @description time at which the key was revoked */
      revoked_at: string | null;
      /** @description scopes of the key */
      scopes: string[];
      /** @description the only user whose data the key can access; null: all users */
      user_id: string | null;
    };
    JobOut: {
      /** @description how closely the search results of the new vectors match those of the current vectors; null until they have been compared */
      comparison: {
        [key: string]: unknown;
      } | null;
      /** @description number of items processed so far */
      done: number;
      /** @description reason for the failure */
      error: string | null;
      /** @description end time */
      finished_at: string | null;
      /** @description unique id */
      id: string;
      /** @description kind of job */
      kind: string;
      /** @description current phase of the job */
      phase: string | null;
      /** @description start time */
      started_at: string | null;
      /**
       * @description current state
       * @enum {string}
       */
      state: "queued" | "running" | "done" | "failed";
      /** @description total number of items to process */
      total: number | null;
    };
    KeyBody: {
      /** @description expiry time */
      expires_at?: string | null;
      /** @description description of the key */
      name?: string;
      /** @description namespaces that the key can use; empty: all */
      namespaces?: string[];
      /** @description scopes of the key; default: read, write and delete */
      scopes?: ("read" | "write" | "delete" | "admin")[];
      /** @description existing secret to import; at least 32 characters */
      secret?: string | null;
      /** @description the only user whose data the key can access; null: all users */
      user_id?: string | null;
    };
    /** @description A memory to store under the key in the path. */
    KeyedBody: {
      /** @description agent to which the memory belongs */
      agent_id?: string | null;
      /** @description text that helps searches find the memory but is not part of it */
      context?: string;
      /**
       * Format: coordinate
       * @description coordinate at which the memory is stored
       */
      coord?: string | number[];
      /** @description your own vector for the memory */
      embedding?: number[] | null;
      /** @description expiry time */
      expires_at?: string | null;
      /** @description importance of the memory, 0 to 10 */
      importance?: number;
      /**
       * @description an event (`episodic`) or a fact (`semantic`)
       * @enum {string}
       */
      memory_type?: "episodic" | "semantic";
      /** @description any JSON object; can be used in filters, but is not searched as text */
      metadata?: {
        [key: string]: unknown;
      };
      /** @description content of the memory: any JSON object */
      payload: {
        [key: string]: unknown;
      };
      /** @description session to which the memory belongs */
      session_id?: string | null;
      /** @description who or what wrote the memory, and from where: a string or an object, as provided by the client */
      source?: string | {
        [key: string]: unknown;
      } | null;
      /** @description memories in the same namespace that this one replaces: they remain valid only until `valid_from` (default: now), and this memory gets a `supersedes` link to each of them */
      supersedes?: components["schemas"]["MemoryName"][];
      /** @description how much the memory can be trusted, 0 to 1, as provided by the client */
      trust?: number | null;
      /** @description seconds until the memory expires */
      ttl_seconds?: number | null;
      /** @description user to whom the memory belongs; 1 to 255 characters */
      user_id?: string | null;
      /** @description start of the validity period; null: no start */
      valid_from?: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to?: string | null;
    };
    KeyOut: {
      /** @description creation time */
      created_at: string;
      /** @description expiry time */
      expires_at: string | null;
      /** @description time of the last use, to the hour; null if the key has never been used */
      last_used_at: string | null;
      /** @description description of the key */
      name: string;
      /** @description namespaces that the key can use; empty: all */
      namespaces: string[];
      /** @description first characters of the key, after `soma_` */
      prefix: string;
      /** @description time at which the key was revoked */
      revoked_at: string | null;
      /** @description scopes of the key */
      scopes: string[];
      /** @description the only user whose data the key can access; null: all users */
      user_id: string | null;
    };
    KeysListQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
    };
    KeysOut: {
      /** @description items on this page */
      items: components["schemas"]["KeyOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
    };
    LabelBody: {
      /** @description folder of the conversation, such as `/work/notes` */
      folder?: string | null;
      /** @description label of the conversation */
      label: string | null;
    };
    /** @description Language model usage in one month. */
    LanguageModelStats: {
      /** @description tokens received */
      completion_tokens: number;
      /** @description cost in US dollars */
      cost_usd: number;
      /** @description maximum number of tokens that the tenant can use; null: no limit */
      limit: number | null;
      /** @description maximum cost for the tenant in US dollars; null: no limit */
      limit_usd: number | null;
      /** @description month as YYYYMM, such as 202611 (UTC) */
      month: number;
      /** @description tokens sent */
      prompt_tokens: number;
    };
    LeftOut: {
      /** @description id of the conversation */
      conversation_id: string | null;
      /** @description coordinate as text */
      coord: string;
      /** @description id of the chosen message that has the same content */
      duplicate_of?: string | null;
      /** @description unique id */
      id: string;
      /**
       * @description why the candidate was left out
       * @enum {string}
       */
      reason: "budget" | "duplicate" | "excluded";
      /** @description score, 0 to 1; higher is better */
      score: number | null;
      /** @description number of tokens */
      tokens: number | null;
    };
    LinkOut: {
      /** @description false if an existing link was replaced */
      created: boolean;
      /** @description start of the link */
      from_coord: string;
      /** @description type of the link */
      link_type: string;
      /** @description namespace of the link */
      namespace: string;
      /** @description always true */
      ok: boolean;
      /** @description strength of the link, 0 to 1 */
      strength: number;
      /** @description end of the link */
      to_coord: string;
      /** @description start of the validity period; null: no start */
      valid_from: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to: string | null;
    };
    /** @description A conversation with the fields of a search result, which Sekha's clients expect in a list. */
    ListedOut: {
      /** @description agent to which the conversation belongs */
      agent_id: string | null;
      /** @description text of the message */
      content: string;
      /** @description id of the conversation */
      conversation_id: string;
      /** @description creation time */
      created_at: string;
      /** @description your own id for the conversation; 1 to 255 characters, without slashes */
      external_id: string | null;
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string;
      /** @description unique id */
      id: string;
      /** @description importance of the conversation, 1 to 10 */
      importance_score: number;
      /** @description label of the conversation */
      label: string;
      /** @description source of an automatic label; null if a client set the label, or if there is no label */
      labelled_by: string | null;
      /** @description number of messages */
      message_count: number;
      /** @description id of the message */
      message_id: string;
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description number of the conversation, which is the first number in its messages' coordinates */
      number: number;
      /** @description score, 0 to 1; higher is better */
      score: number;
      /** @description session to which the conversation belongs */
      session_id: string | null;
      /**
       * @description status of the conversation
       * @enum {string}
       */
      status: "active" | "pinned" | "archived";
      /**
       * @description storage tier of the messages
       * @enum {string}
       */
      tier: "active" | "archived" | "cold";
      /** @description time at which the message was sent */
      timestamp: string;
      /** @description time of the last change */
      updated_at: string;
      /** @description user to whom the conversation belongs */
      user_id: string | null;
      /** @description number of words */
      word_count: number;
    };
    ManifestOut: {
      /** @description time from which recency was measured */
      as_of: string;
      /** @description requested budget in tokens */
      budget: number;
      /** @description hash of the query and the chosen messages */
      context_hash: string;
      /** @description components that were unavailable or incomplete; normally empty */
      degraded: string[];
      /** @description chosen messages, in order */
      items: components["schemas"]["ContextItemOut"][];
      /** @description candidates that were not chosen */
      left_out: components["schemas"]["LeftOut"][];
      /** @description usable part of the budget, in tokens */
      target: number;
      /** @description number of tokens in the context */
      used_tokens: number;
    };
    MapOut: {
      /** @description axes of the grid */
      axes?: number[] | null;
      /** @description cells or coordinate prefixes that contain memories */
      cells: components["schemas"]["CellOut"][];
      /** @description number of levels below the prefix */
      depth?: number | null;
      /** @description number of memories whose coordinates have no value on one of the axes */
      elsewhere?: number | null;
      /** @description upper corner of the region */
      high?: number[] | null;
      /** @description lower corner of the region */
      low?: number[] | null;
      /** @description the memories in the region; null if there are too many */
      memories?: components["schemas"]["SingleOut"][] | null;
      /** @description namespace of the memories */
      namespace: string;
      /** @description cursor for the next page; null on the last page */
      next_cursor?: string | null;
      /** @description number of cells along each axis */
      resolution?: number | null;
      /** @description number of memories in the region */
      total?: number | null;
    };
    MemoriesDeleteByIdQuery: {
      /** @description true: delete permanently */
      purge?: boolean;
    };
    MemoriesDeleteByKeyQuery: {
      /** @description namespace of the memory */
      namespace?: string;
      /** @description true: delete permanently */
      purge?: boolean;
    };
    MemoriesDeleteQuery: {
      /** @description namespace of the memory */
      namespace?: string;
      /** @description true: delete permanently */
      purge?: boolean;
    };
    MemoriesGetByIdQuery: {
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
    };
    MemoriesGetByKeyQuery: {
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
      /** @description namespace of the memory */
      namespace?: string;
    };
    MemoriesGetQuery: {
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
      /** @description namespace of the memory */
      namespace?: string;
    };
    MemoriesHistoryByIdQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
    };
    MemoriesHistoryByKeyQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key: string;
      /** @description number of items per page */
      limit?: number;
      /** @description namespace of the memory */
      namespace?: string;
    };
    MemoriesHistoryQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
      /** @description namespace of the memory */
      namespace?: string;
    };
    MemoriesLinksByIdQuery: {
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
      /**
       * @description follow links forwards (`out`), backwards (`in`), or in both directions (`both`)
       * @enum {string}
       */
      direction?: "out" | "in" | "both";
      /** @description include the memory at each address */
      include_memory?: boolean;
      /** @description maximum number of hops */
      k_hop?: number;
      /** @description number of items per page */
      limit?: number;
      /** @description follow only links of these types, separated by commas */
      link_type?: string | null;
      /** @description leave out weaker links */
      min_strength?: number;
      /** @description number of items to skip */
      offset?: number;
      /** @description time at which links must be valid; default: `as_of`, or now */
      valid_at?: string | null;
    };
    MemoriesListQuery: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
      /** @description region between two coordinates, as `low;high` */
      box?: string | null;
      /** @description only items created after this time */
      created_after?: string | null;
      /** @description only items created before this time */
      created_before?: string | null;
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description conditions on fields */
      filters?: string | null;
      /** @description include deleted memories */
      include_deleted?: boolean;
      /** @description only memories with this key or a key below it: `users/ada` matches `users/ada/seat`, but not `users/adam` */
      key_prefix?: string | null;
      /** @description number of items per page */
      limit?: number;
      /** @description only memories of this type */
      memory_type?: ("episodic" | "semantic") | null;
      /** @description namespace of the memories */
      namespace?: string;
      /** @description centre of the neighbourhood */
      near?: string | null;
      /** @description sort order */
      order?: ("coordinate" | "-coordinate" | "created_at" | "-created_at" | "updated_at" | "-updated_at") | null;
      /** @description only items at or below this coordinate */
      prefix?: string | null;
      /** @description radius of the neighbourhood */
      radius?: number | null;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description only items changed after this time */
      updated_after?: string | null;
      /** @description only this user's data */
      user_id?: string | null;
      /** @description only memories that are valid at this time */
      valid_at?: string | null;
    };
    MemoriesMapQuery: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description one or two positions in the coordinate, counted from 0 and separated by a comma; if set, the response is a grid */
      axes?: string | null;
      /** @description region between two coordinates, as `low;high` */
      box?: string | null;
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of levels below the prefix; if set, the response contains one count per coordinate prefix */
      depth?: number | null;
      /** @description number of items per page */
      limit?: number | null;
      /** @description only memories of this type */
      memory_type?: ("episodic" | "semantic") | null;
      /** @description namespace of the memories */
      namespace?: string;
      /** @description only items at or below this coordinate */
      prefix?: string | null;
      /** @description number of cells along each axis; default: 48 */
      resolution?: number | null;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description only this user's data */
      user_id?: string | null;
    };
    MemoriesPatchByKeyQuery: {
      /** @description namespace of the memory */
      namespace?: string;
    };
    MemoriesPatchQuery: {
      /** @description namespace of the memory */
      namespace?: string;
    };
    MemoriesRestoreByIdQuery: {
      /** @description earlier version to restore; default: undo the deletion */
      version?: number | null;
    };
    MemoriesRestoreQuery: {
      /** @description namespace of the memory */
      namespace?: string;
      /** @description earlier version to restore; default: undo the deletion */
      version?: number | null;
    };
    MemoriesSearchByQueryQuery: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
      /**
       * @description `strong`: include recently stored memories in semantic search
       * @enum {string}
       */
      consistency?: "eventual" | "strong";
      /** @description true: return the components of each score */
      explain?: boolean;
      /** @description conditions on fields, as JSON */
      filters?: string | null;
      /** @description include messages from archived conversations */
      include_archived?: boolean;
      /** @description include memories that are not valid now */
      include_superseded?: boolean;
      /** @description only memories with this key or a key below it: `users/ada` matches `users/ada/seat`, but not `users/adam` */
      key_prefix?: string | null;
      /** @description only memories of this type */
      memory_type?: ("episodic" | "semantic") | null;
      /** @description leave out hits with a lower relevance */
      min_relevance?: number;
      /** @description leave out hits with a lower score */
      min_score?: number;
      /**
       * @description kind of search
       * @enum {string}
       */
      mode?: "hybrid" | "semantic" | "keyword";
      /** @description namespace to search */
      namespace?: string;
      /** @description instead of `namespace`: all namespaces at or below this one, at most 100; `users/ada` covers `users/ada/notes`, but not `users/adam` */
      namespace_prefix?: string | null;
      /** @description centre of the neighbourhood */
      near?: string | null;
      /** @description number of items to skip */
      offset?: number;
      /** @description only items at or below this coordinate */
      prefix?: string | null;
      /** @description text to search for */
      query: string;
      /** @description radius of the neighbourhood */
      radius?: number | null;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description number of memories to return */
      top_k?: number;
      /** @description only this user's data */
      user_id?: string | null;
      /** @description only memories that are valid at this time; default: now */
      valid_at?: string | null;
    };
    MemoriesStoreByKeyQuery: {
      /** @description namespace of the memory */
      namespace?: string;
    };
    MemoryEnvelope: {
      /** @description the memory */
      memory: components["schemas"]["MemoryOut"];
    };
    /** @description The name of one memory in the request's namespace: a coordinate, a key or an id. */
    MemoryName: {
      /** @description coordinate of the memory */
      coord?: (string | number[]) | null;
      /** @description id of the memory */
      id?: string | null;
      /** @description key of the memory */
      key?: string | null;
    };
    MemoryOut: {
      /** @description number of times the memory was read */
      access_count: number;
      /** @description agent to which the memory belongs */
      agent_id: string | null;
      /** @description text that helps searches find the memory but is not part of it */
      context: string;
      /** @description coordinate as text */
      coord: string;
      /** @description coordinate as numbers */
      coordinate: number[];
      /** @description creation time */
      created_at: string;
      /** @description deletion time */
      deleted_at?: string | null;
      /** @description distance to `near` */
      distance?: number | null;
      /** @description expiry time */
      expires_at: string | null;
      /** @description unique id */
      id: string;
      /** @description importance of the memory, 0 to 10 */
      importance: number;
      /** @description state in the vector index */
      index_state: string;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key: string | null;
      /** @description time of the last read */
      last_accessed_at: string | null;
      /**
       * @description an event (`episodic`) or a fact (`semantic`)
       * @enum {string}
       */
      memory_type: "episodic" | "semantic";
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description namespace of the memory */
      namespace: string;
      /** @description content of the memory: any JSON object */
      payload: {
        [key: string]: unknown;
      };
      /** @description session to which the memory belongs */
      session_id: string | null;
      /** @description who or what wrote the memory, and from where: a string or an object, as provided by the client */
      source: string | {
        [key: string]: unknown;
      } | null;
      /** @description how much the memory can be trusted, 0 to 1, as provided by the client */
      trust: number | null;
      /** @description time of the last change */
      updated_at: string;
      /** @description user to whom the memory belongs */
      user_id: string | null;
      /** @description start of the validity period; null: no start */
      valid_from: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to: string | null;
      /** @description version number, increased by each change; also the value of the `ETag` */
      version: number;
    };
    /**
     * @description A message in the format used by model APIs.
     *
     *     Searches cover only its text. Its other parts and its tool calls are stored and returned.
     */
    MessageBody: {
      /** @description text, or a list of parts such as `{"type": "text", "text": "Hello"}`; may be empty if the message has tool calls or is a tool result */
      content?: string | {
        [key: string]: unknown;
      }[] | null;
      /** @description any JSON object */
      metadata?: {
        [key: string]: unknown;
      } | null;
      /** @description name of the speaker or tool */
      name?: string | null;
      /**
       * @description author of the message: `user`, `assistant`, `system`, `developer` or `tool`
       * @enum {string}
       */
      role: "user" | "assistant" | "system" | "tool" | "developer";
      /** @description time at which the message was sent; default: now */
      timestamp?: string | null;
      /** @description id of the tool call that this message answers */
      tool_call_id?: string | null;
      /** @description tool calls, in the format used by model APIs */
      tool_calls?: {
        [key: string]: unknown;
      }[] | null;
    };
    MessageOut: {
      /** @description text of the message */
      content: string;
      /** @description parts of the content, as sent */
      content_parts?: {
        [key: string]: unknown;
      }[] | null;
      /** @description id of the conversation */
      conversation_id: string;
      /** @description coordinate as text */
      coord: string;
      /** @description unique id */
      id: string;
      /** @description importance of the memory, 0 to 10 */
      importance: number;
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description name of the speaker or tool */
      name?: string | null;
      /** @description author of the message: `user`, `assistant`, `system`, `developer` or `tool` */
      role: string;
      /** @description time at which the message was sent */
      timestamp: string;
      /** @description id of the tool call that this message answers */
      tool_call_id?: string | null;
      /** @description tool calls, in the format used by model APIs */
      tool_calls?: {
        [key: string]: unknown;
      }[] | null;
      /** @description position in the conversation, starting at 1 */
      turn: number;
    };
    MessagesBody: {
      /** @description messages, in order */
      messages: components["schemas"]["MessageBody"][];
    };
    MessagesOut: {
      /** @description items on this page */
      items: components["schemas"]["MessageOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
      /** @description number of messages in the conversation */
      total: number;
    };
    /** @description A link between two addresses. Each is given as a coordinate, or as the key or id of a memory. */
    NamedLinkBody: {
      /**
       * Format: coordinate
       * @description start of the link
       */
      from_coord?: string | number[];
      /** @description start of the link: the id of a memory, instead of `from_coord` */
      from_id?: string | null;
      /** @description start of the link: the key of a memory, instead of `from_coord` */
      from_key?: string | null;
      /** @description type of the link */
      link_type?: string;
      /** @description any JSON object */
      metadata?: {
        [key: string]: unknown;
      };
      /** @description namespace of the link */
      namespace?: string;
      /** @description strength of the link, 0 to 1 */
      strength?: number;
      /**
       * Format: coordinate
       * @description end of the link
       */
      to_coord?: string | number[];
      /** @description end of the link: the id of a memory, instead of `to_coord` */
      to_id?: string | null;
      /** @description end of the link: the key of a memory, instead of `to_coord` */
      to_key?: string | null;
      /** @description start of the validity period; null: no start */
      valid_from?: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to?: string | null;
    };
    NamespaceOut: {
      /** @description false: there are more memories than were counted */
      exact: boolean;
      /** @description number of memories, counted up to 1,000 */
      memories: number;
      /** @description name of the namespace, truncated to `depth` segments */
      namespace: string;
    };
    NamespacesListQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description truncate names to this number of segments; namespaces with the same truncated name are counted together */
      depth?: number | null;
      /** @description number of items per page */
      limit?: number;
      /** @description only namespaces at or below this one */
      prefix?: string | null;
    };
    NamespacesOut: {
      /** @description items on this page */
      items: components["schemas"]["NamespaceOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
    };
    NeighborOut: {
      /** @description coordinate as text */
      coord: string;
      /** @description coordinate as numbers */
      coordinate: number[];
      /**
       * @description direction in which the link points
       * @enum {string}
       */
      direction: "out" | "in";
      /** @description number of links from the start address */
      hops: number;
      /** @description type of the link */
      link_type: string;
      /** @description the memory at the address; null if there is none, or if `include_memory` is false */
      memory?: components["schemas"]["MemoryOut"] | null;
      /** @description addresses on the path */
      path: string[];
      /** @description strength of the link, 0 to 1 */
      strength: number;
    };
    NeighborsOut: {
      /** @description coordinate as text */
      coord: string;
      /** @description neighbours, nearest first */
      neighbors: components["schemas"]["NeighborOut"][];
      /** @description Set if the results are too large for one response: the `offset` to continue from. */
      next_offset?: number | null;
      /** @description whether a limit was reached */
      truncated: boolean;
    };
    PageOut: {
      /** @description items on this page */
      items: components["schemas"]["MemoryOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
    };
    /** @description A JSON merge patch (RFC 7396). Omitted fields are left unchanged. Null removes an optional value. */
    PatchBody: {
      /** @description agent to which the memory belongs */
      agent_id?: string | null;
      /** @description text that helps searches find the memory but is not part of it */
      context?: string | null;
      /** @description expiry time */
      expires_at?: string | null;
      /** @description importance of the memory, 0 to 10 */
      importance?: number | null;
      /** @description an event (`episodic`) or a fact (`semantic`) */
      memory_type?: ("episodic" | "semantic") | null;
      /** @description any JSON object; can be used in filters, but is not searched as text */
      metadata?: {
        [key: string]: unknown;
      } | null;
      /** @description content of the memory: any JSON object */
      payload?: {
        [key: string]: unknown;
      } | null;
      /** @description session to which the memory belongs */
      session_id?: string | null;
      /** @description who or what wrote the memory, and from where: a string or an object, as provided by the client */
      source?: string | {
        [key: string]: unknown;
      } | null;
      /** @description memories in the same namespace that this one replaces: they remain valid only until `valid_from` (default: now), and this memory gets a `supersedes` link to each of them */
      supersedes?: components["schemas"]["MemoryName"][] | null;
      /** @description how much the memory can be trusted, 0 to 1, as provided by the client */
      trust?: number | null;
      /** @description user to whom the memory belongs; 1 to 255 characters */
      user_id?: string | null;
      /** @description start of the validity period; null: no start */
      valid_from?: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to?: string | null;
    };
    PathOut: {
      /** @description total cost of the hops */
      cost: number | null;
      /** @description whether there is a path */
      found: boolean;
      /** @description start of the path */
      from_coord: string;
      /** @description number of hops */
      length: number | null;
      /** @description types of the links on the path */
      link_types: string[];
      /** @description addresses on the path */
      path: string[];
      /** @description end of the path */
      to_coord: string;
      /** @description whether a limit was reached */
      truncated: boolean;
    };
    PingOut: {
      /** @description `ok` */
      status: string;
    };
    /** @description A tenant's policies. Omitted fields are left unchanged. */
    Policies: {
      /** @description minimum confidence at which a suggested label is set automatically; null: never */
      auto_label?: number | null;
      /** @description whether facts are extracted automatically */
      extract_facts?: boolean;
      /** @description number of days for which earlier versions of memories are kept; null: the installation's default */
      history_days?: number | null;
    };
    PoliciesOut: {
      /** @description minimum confidence at which a suggested label is set automatically; null: never */
      auto_label: number | null;
      /** @description whether facts are extracted automatically */
      extract_facts: boolean;
      /** @description number of days for which earlier versions of memories are kept; null: the installation's default */
      history_days: number | null;
    };
    /**
     * @description An error (RFC 9457). `code` is stable; `errors` lists the invalid fields.
     *
     *     `error` and `message` repeat `detail` for Sekha's clients.
     */
    Problem: {
      /** @description error code */
      code: string;
      /** @description explanation of the error */
      detail: string;
      /** @description same as `detail`, for Sekha's clients */
      error: string;
      /** @description invalid fields */
      errors?: components["schemas"]["FieldProblem"][] | null;
      /** @description same as `detail`, for Sekha's clients */
      message: string;
      /** @description id of the request, as in the log */
      request_id: string;
      /** @description HTTP status */
      status: number;
      /** @description kind of error */
      title: string;
      /** @description URN of the error code */
      type: string;
    };
    ProposalOut: {
      /** @description confidence that the newer fact makes the older one outdated, 0 to 1 */
      confidence: number;
      /** @description creation time */
      created_at: string;
      /** @description time of the decision */
      decided_at: string | null;
      /** @description who made the decision, such as `key:PREFIX`; `schedule` if it was automatic */
      decided_by: string | null;
      /** @description id of the proposal */
      id: string;
      /** @description the fact that was stated later; null if it has been deleted */
      newer: components["schemas"]["ProposedFact"] | null;
      /** @description the fact that was stated earlier; null if it has been deleted */
      older: components["schemas"]["ProposedFact"] | null;
      /** @description why the newer fact may supersede the older one */
      reason: string;
      /**
       * @description `open`: to be decided; `accepted`: the newer fact supersedes the older one; `rejected`: both remain valid
       * @enum {string}
       */
      state: "open" | "accepted" | "rejected";
    };
    ProposalsListQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
      /**
       * @description only proposals in this state
       * @enum {string}
       */
      state?: "open" | "accepted" | "rejected";
    };
    ProposalsOut: {
      /** @description items on this page */
      items: components["schemas"]["ProposalOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
    };
    ProposedFact: {
      /** @description coordinate as text */
      coord: string;
      /** @description the fact as one sentence */
      fact: string;
      /** @description unique id */
      id: string;
      /** @description time at which the fact was stated */
      timestamp: string;
    };
    ProvenanceOut: {
      /** @description who or what wrote the memory, and from where: a string or an object, as provided by the client */
      source: string | {
        [key: string]: unknown;
      } | null;
      /** @description how much the memory can be trusted, 0 to 1; null: not stated */
      trust: number | null;
    };
    PruneBody: {
      /** @description leave out conversations with a higher importance */
      importance_threshold?: number;
      /** @description leave out conversations that were used within this many days */
      threshold_days?: number;
    };
    PruneSuggestionOut: {
      /** @description id of the conversation */
      conversation_id: string;
      /** @description label of the conversation */
      conversation_label: string;
      /** @description importance of the conversation, 1 to 10 */
      importance_score: number;
      /** @description time of the last read or change */
      last_accessed: string;
      /** @description number of messages */
      message_count: number;
      /** @description beginning of the text */
      preview: string;
      /** @description reasons for the recommendation */
      reasons: string[];
      /**
       * @description recommended action
       * @enum {string}
       */
      recommendation: "keep" | "archive";
      /** @description score, 0 to 1; archiving is recommended at 0.5 or above */
      score: number;
      /** @description estimated number of tokens */
      token_estimate: number;
    };
    PruneSuggestionsOut: {
      /** @description suggestions, best first */
      suggestions: components["schemas"]["PruneSuggestionOut"][];
      /** @description number of suggestions */
      total: number;
    };
    PruningBody: {
      /** @description leave out conversations with a higher importance */
      importance_threshold?: number;
      /**
       * @description `off`: do not prune; `report`: only list conversations in the report; `archive`: archive them
       * @enum {string}
       */
      mode?: "off" | "report" | "archive";
      /** @description leave out conversations that were used within this many days */
      threshold_days?: number;
    };
    PruningSuggestionsQuery: {
      /** @description leave out conversations with a higher importance */
      importance_threshold?: number;
      /** @description leave out conversations that were used within this many days */
      threshold_days?: number;
    };
    QueryBody: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description conditions on fields */
      filters?: {
        [key: string]: unknown;
      } | null;
      /** @description include messages from archived conversations */
      include_archived?: boolean | null;
      /** @description number of messages to return */
      limit?: number | null;
      /** @description leave out hits with a lower relevance */
      min_relevance?: number;
      /** @description number of items to skip */
      offset?: number | null;
      /** @description text to search for */
      query: string;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description only this user's data */
      user_id?: string | null;
    };
    QueryOut: {
      /** @description components that were unavailable or incomplete; normally empty */
      degraded: string[];
      /** @description Set if the results are too large for one response: the `offset` to continue from. */
      next_offset?: number | null;
      /** @description page number, starting at 1 */
      page: number;
      /** @description number of items per page */
      page_size: number;
      /** @description results, in order */
      results: components["schemas"]["QueryResultOut"][];
      /** @description number of messages that the search ranked */
      total: number;
    };
    QueryResultOut: {
      /** @description text of the message */
      content: string;
      /** @description id of the conversation */
      conversation_id: string;
      /** @description coordinate as text */
      coord: string;
      /** @description folder of the conversation, such as `/work/notes` */
      folder: string;
      /** @description label of the conversation */
      label: string;
      /** @description id of the message */
      message_id: string;
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description probability that this message is useful, 0 to 1 */
      relevance: number;
      /** @description author of the message: `user`, `assistant`, `system`, `developer` or `tool` */
      role: string;
      /** @description score, 0 to 1; higher is better */
      score: number;
      /** @description cosine similarity between the query and the message; null if the message is not indexed */
      similarity: number | null;
      /** @description time at which the message was sent */
      timestamp: string;
    };
    /** @description Null means no limit. Omitted fields are left unchanged. */
    Quotas: {
      /** @description size of payloads, metadata and contexts in bytes */
      bytes?: number | null;
      /** @description number of valid keys */
      keys?: number | null;
      /** @description cost of language models per month, in US cents */
      llm_cents_per_month?: number | null;
      /** @description language model tokens per day */
      llm_tokens_per_day?: number | null;
      /** @description language model tokens per month */
      llm_tokens_per_month?: number | null;
      /** @description number of memories */
      memories?: number | null;
      /** @description requests per day (UTC) */
      requests_per_day?: number | null;
    };
    QuotasOut: {
      /** @description size of payloads, metadata and contexts in bytes */
      bytes: number | null;
      /** @description number of valid keys */
      keys: number | null;
      /** @description cost of language models per month, in US cents */
      llm_cents_per_month: number | null;
      /** @description language model tokens per day */
      llm_tokens_per_day: number | null;
      /** @description language model tokens per month */
      llm_tokens_per_month: number | null;
      /** @description number of memories */
      memories: number | null;
      /** @description requests per day (UTC) */
      requests_per_day: number | null;
    };
    RatedOut: {
      /** @description model or method that rated the message */
      model: string;
      /** @description explanation of the score */
      reasoning: string;
      /** @description importance, 1 to 10 */
      score: number;
    };
    ReadyOut: {
      /** @description whether the server can handle requests */
      ready: boolean;
      /** @description reason why the server is not ready */
      reason?: string | null;
    };
    /** @description The embedder to use. If the body is empty, the current embedder is used. */
    RebuildBody: {
      /** @description number of dimensions; 0: the model's default */
      dimension?: number;
      /** @description true: refill the index from the vectors in the database, without embedding the memories again */
      from_stored_vectors?: boolean;
      /** @description name of the model; empty: the current one */
      model?: string;
      /** @description embedding provider; empty: the current one */
      provider?: string;
    };
    RebuildOut: {
      /** @description estimated duration of the job in seconds */
      estimated_completion_seconds: number;
      /** @description id of the job */
      job_id: string;
      /** @description current state */
      state: string;
    };
    ReceiptOut: {
      /** @description time at which the change was completed */
      at: string;
      /** @description number of links that were moved or deleted */
      links: number;
      /** @description number of memories that were moved or deleted */
      memories: number;
      /** @description the namespaces that were changed */
      namespaces: string[];
      /** @description id of the request, as in the audit log */
      request_id: string;
    };
    RenameBody: {
      /** @description true: `to` may already contain links, and memories at addresses that `namespace` does not use. If both namespaces contain the same link, the one in `to` is kept. Also resumes an interrupted rename. */
      merge?: boolean;
      /** @description namespace to rename */
      namespace: string;
      /** @description new name of the namespace */
      to: string;
    };
    RestoreBody: {
      /** @description coordinate as text */
      coord?: (string | number[]) | null;
      /** @description unique id */
      id?: string | null;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key?: string | null;
      /** @description namespace of the memory */
      namespace?: string | null;
      /** @description earlier version to restore; default: undo the deletion */
      version?: number | null;
    };
    RestoredOut: {
      /** @description ids of the conversations */
      conversation_ids: string[];
      /** @description number of conversations that were made active again */
      restored: number;
    };
    RotateBody: {
      /** @description number of hours for which the old key remains valid */
      overlap_hours?: number;
    };
    SearchBody: {
      /** @description only this agent's data */
      agent_id?: string | null;
      /** @description time in the past: return the data as it was at this time; default: now */
      as_of?: string | null;
      /**
       * @description `strong`: include recently stored memories in semantic search
       * @enum {string}
       */
      consistency?: "eventual" | "strong";
      /** @description follow links from the best hits */
      expand?: components["schemas"]["ExpandBody"] | null;
      /** @description true: return the components of each score */
      explain?: boolean;
      /** @description conditions on fields */
      filters?: {
        [key: string]: unknown;
      } | null;
      /** @description include messages from archived conversations */
      include_archived?: boolean;
      /** @description include memories that are not valid now */
      include_superseded?: boolean;
      /** @description only memories with this key or a key below it: `users/ada` matches `users/ada/seat`, but not `users/adam` */
      key_prefix?: string | null;
      /** @description only memories of this type */
      memory_type?: ("episodic" | "semantic") | null;
      /** @description leave out hits with a lower relevance */
      min_relevance?: number;
      /** @description leave out hits with a lower score */
      min_score?: number;
      /**
       * @description kind of search
       * @enum {string}
       */
      mode?: "hybrid" | "semantic" | "keyword";
      /** @description one or more namespaces to search */
      namespace?: string | string[];
      /** @description instead of `namespace`: all namespaces at or below this one, at most 100; `users/ada` covers `users/ada/notes`, but not `users/adam` */
      namespace_prefix?: string | null;
      /** @description centre of the neighbourhood */
      near?: (string | number[]) | null;
      /** @description number of items to skip */
      offset?: number;
      /** @description only items at or below this coordinate */
      prefix?: (string | number[]) | null;
      /** @description text to search for */
      query: string;
      /** @description radius of the neighbourhood */
      radius?: number | null;
      /** @description only this session's data */
      session_id?: string | null;
      /** @description number of memories to return */
      top_k?: number;
      /** @description only this user's data */
      user_id?: string | null;
      /** @description only memories that are valid at this time; default: now */
      valid_at?: string | null;
      /** @description weights of the score's components */
      weights?: components["schemas"]["Weights"];
    };
    SearchOut: {
      /** @description components that were unavailable or incomplete; normally empty */
      degraded: string[];
      /** @description results, best first */
      memories: components["schemas"]["FoundOut"][];
      /** @description kind of search */
      mode: string;
      /** @description Set if the results are too large for one response: the `offset` to continue from. */
      next_offset?: number | null;
      /** @description duration of the search in milliseconds */
      took_ms: number;
    };
    ServiceOut: {
      /** @description whether the component responds */
      healthy: boolean;
      /** @description response time in milliseconds */
      latency_ms: number;
      /** @description name of the component */
      name: string;
    };
    SingleOut: {
      /** @description coordinate as text */
      coord: string;
      /** @description coordinate as numbers */
      coordinate: number[];
      /** @description unique id */
      id: string;
      /** @description importance of the memory, 0 to 10 */
      importance: number;
      /**
       * @description an event (`episodic`) or a fact (`semantic`)
       * @enum {string}
       */
      memory_type: "episodic" | "semantic";
      /** @description beginning of the text */
      text: string;
    };
    StatsOut: {
      /** @description number of conversations */
      conversations: number;
      /** @description number of deleted memories that can be restored */
      deleted: number;
      /** @description number of episodic memories */
      episodic: number;
      /** @description state of the vector index */
      index: components["schemas"]["IndexStats"];
      /** @description language model usage this month; null if no model is configured */
      language_model: components["schemas"]["LanguageModelStats"] | null;
      /** @description number of links */
      links: number;
      /** @description number of memories per namespace */
      namespaces: {
        [key: string]: number;
      };
      /** @description number of semantic memories */
      semantic: number;
      /** @description number of memories */
      total_memories: number;
    };
    StatusBody: {
      /**
       * @description status of the conversation
       * @enum {string}
       */
      status: "active" | "pinned" | "archived";
    };
    /** @description A memory to store. Without `coord`, the memory gets the coordinate of its key, or a new coordinate. */
    StoreBody: {
      /** @description agent to which the memory belongs */
      agent_id?: string | null;
      /** @description text that helps searches find the memory but is not part of it */
      context?: string;
      /**
       * Format: coordinate
       * @description coordinate at which the memory is stored
       */
      coord?: string | number[];
      /** @description your own vector for the memory */
      embedding?: number[] | null;
      /** @description expiry time */
      expires_at?: string | null;
      /** @description importance of the memory, 0 to 10 */
      importance?: number;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key?: string | null;
      /**
       * @description an event (`episodic`) or a fact (`semantic`)
       * @enum {string}
       */
      memory_type?: "episodic" | "semantic";
      /** @description any JSON object; can be used in filters, but is not searched as text */
      metadata?: {
        [key: string]: unknown;
      };
      /** @description namespace of the memory */
      namespace?: string;
      /** @description content of the memory: any JSON object */
      payload: {
        [key: string]: unknown;
      };
      /** @description session to which the memory belongs */
      session_id?: string | null;
      /** @description who or what wrote the memory, and from where: a string or an object, as provided by the client */
      source?: string | {
        [key: string]: unknown;
      } | null;
      /** @description memories in the same namespace that this one replaces: they remain valid only until `valid_from` (default: now), and this memory gets a `supersedes` link to each of them */
      supersedes?: components["schemas"]["MemoryName"][];
      /** @description how much the memory can be trusted, 0 to 1, as provided by the client */
      trust?: number | null;
      /** @description seconds until the memory expires */
      ttl_seconds?: number | null;
      /** @description user to whom the memory belongs; 1 to 255 characters */
      user_id?: string | null;
      /** @description start of the validity period; null: no start */
      valid_from?: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to?: string | null;
    };
    StoredOut: {
      /** @description coordinate as text */
      coord: string;
      /** @description coordinate as numbers */
      coordinate: number[];
      /** @description false if an existing memory was replaced */
      created: boolean;
      /** @description unique id */
      id: string;
      /** @description state in the vector index */
      index_state: string;
      /** @description key of the memory: a name chosen by the caller, unique in the namespace */
      key: string | null;
      /**
       * @description an event (`episodic`) or a fact (`semantic`)
       * @enum {string}
       */
      memory_type: "episodic" | "semantic";
      /** @description namespace of the memory */
      namespace: string;
      /** @description always true */
      ok: boolean;
      /** @description version number, increased by each change; also the value of the `ETag` */
      version: number;
    };
    SuggestionOut: {
      /** @description confidence, 0 to 1 */
      confidence: number;
      /** @description whether a conversation already uses the label */
      is_existing: boolean;
      /** @description suggested label */
      label: string;
      /** @description why the label was suggested */
      reason: string;
    };
    SuggestionsOut: {
      /** @description id of the conversation */
      conversation_id: string;
      /** @description model or method that made the suggestions */
      model: string;
      /** @description suggestions, best first */
      suggestions: components["schemas"]["SuggestionOut"][];
    };
    SummariesCreateForConversationQuery: {
      /** @description a day in the period; default: the last day with messages */
      day?: string | null;
      /**
       * @description period of the summary
       * @enum {string}
       */
      level?: "daily" | "weekly" | "monthly";
    };
    /** @description The conversation and the period to summarise. */
    SummarizeBody: {
      /**
       * Format: uuid
       * @description id of the conversation
       */
      conversation_id: string;
      /** @description a day in the period; default: the last day with messages */
      day?: string | null;
      /**
       * @description period of the summary
       * @enum {string}
       */
      level?: "daily" | "weekly" | "monthly";
    };
    SummaryOut: {
      /** @description id of the conversation */
      conversation_id: string;
      /** @description coordinate as text */
      coord: string;
      /** @description turns, days and messages that the summary covers */
      covers: components["schemas"]["CoversOut"];
      /** @description time at which the summary was generated */
      generated_at: string;
      /**
       * @description period of the summary
       * @enum {string}
       */
      level: "daily" | "weekly" | "monthly";
      /** @description model or method that generated the summary */
      model: string;
      /** @description day, week or month */
      period: string;
      /** @description text of the summary */
      summary: string;
      /** @description number of tokens that the language model used */
      tokens_used: number;
    };
    TenantBody: {
      /** @description display name */
      name?: string;
      /** @description the tenant's policies */
      policies?: components["schemas"]["Policies"];
      /** @description the tenant's quotas */
      quotas?: components["schemas"]["Quotas"];
      /** @description identifier of the tenant in URLs: 1 to 63 of the characters a-z, 0-9, - and _ */
      slug: string;
      /**
       * @description tier of the tenant, used only in metrics
       * @enum {string}
       */
      tier?: "free" | "standard" | "premium";
    };
    TenantOut: {
      /** @description false if the tenant is suspended */
      active: boolean;
      /** @description creation time */
      created_at: string;
      /** @description display name */
      name: string;
      /** @description the tenant's policies */
      policies: components["schemas"]["PoliciesOut"];
      /** @description the tenant's quotas */
      quotas: components["schemas"]["QuotasOut"];
      /** @description identifier of the tenant in URLs */
      slug: string;
      /**
       * @description tier of the tenant, used only in metrics
       * @enum {string}
       */
      tier: "free" | "standard" | "premium";
    };
    /** @description Omitted fields are left unchanged. */
    TenantPatch: {
      /** @description false: suspend the tenant; true: reactivate it */
      active?: boolean | null;
      /** @description display name */
      name?: string | null;
      /** @description the tenant's policies */
      policies?: components["schemas"]["Policies"];
      /** @description the tenant's quotas */
      quotas?: components["schemas"]["Quotas"];
      /** @description tier of the tenant, used only in metrics */
      tier?: ("free" | "standard" | "premium") | null;
    };
    TenantsListAuditQuery: {
      /** @description type of change, such as `memory.store` */
      action?: string;
      /** @description who made the change, such as `key:PREFIX` */
      actor?: string;
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
      /** @description only rows from this time onwards */
      since?: string | null;
      /** @description identifier of the changed object, such as a coordinate */
      target?: string;
      /** @description only rows before this time */
      until?: string | null;
    };
    TenantsListQuery: {
      /** @description `next_cursor` of the previous page */
      cursor?: string | null;
      /** @description number of items per page */
      limit?: number;
    };
    TenantsOut: {
      /** @description items on this page */
      items: components["schemas"]["TenantOut"][];
      /** @description cursor for the next page; null on the last page */
      next_cursor: string | null;
    };
    UnlinkedOut: {
      /** @description whether there was a link to delete */
      deleted: boolean;
    };
    /** @description The lifecycle policy in effect, and the report of its last run. */
    UpkeepOut: {
      /** @description number of days without use after which a conversation is archived; 0: never */
      active_days: number;
      /** @description number of days without reads after which an archived conversation moves to cold storage; 0: never */
      archived_days: number;
      /** @description names of the fields that the tenant has set */
      own: string[];
      /** @description scheduled pruning */
      pruning: components["schemas"]["PruningBody"];
      /** @description time of the last run */
      ran_at: string | null;
      /** @description report of the last run */
      report: {
        [key: string]: unknown;
      };
    };
    /** @description Omitted fields are left unchanged. Null resets a field to the installation's default. */
    UpkeepPatch: {
      /** @description number of days without use after which a conversation is archived; 0: never */
      active_days?: number | null;
      /** @description number of days without reads after which an archived conversation moves to cold storage; 0: never */
      archived_days?: number | null;
      /** @description scheduled pruning */
      pruning?: components["schemas"]["PruningBody"] | null;
    };
    UsageOut: {
      /** @description size of payloads, metadata and contexts in bytes */
      bytes: components["schemas"]["Used"];
      /** @description number of valid keys */
      keys: components["schemas"]["Used"];
      /** @description cost of language models per month, in US cents */
      llm_cents_per_month: components["schemas"]["Used"];
      /** @description language model tokens per day */
      llm_tokens_per_day: components["schemas"]["Used"];
      /** @description language model tokens per month */
      llm_tokens_per_month: components["schemas"]["Used"];
      /** @description number of memories */
      memories: components["schemas"]["Used"];
      /** @description requests per day (UTC) */
      requests_per_day: components["schemas"]["Used"];
      /** @description identifier of the tenant in URLs */
      slug: string;
    };
    Used: {
      /** @description quota; null: no limit */
      quota: number | null;
      /** @description amount used */
      used: number;
    };
    VersionOut: {
      /**
       * @description action that created the version
       * @enum {string}
       */
      action: "create" | "update" | "delete" | "restore";
      /** @description agent to which the memory belonged */
      agent_id: string | null;
      /** @description when the version was written */
      at: string;
      /** @description who wrote the version, such as `key:PREFIX`; null if an older release wrote it */
      by: string | null;
      /** @description fields that differ from the previous version, such as `payload.city`; null if that version is no longer kept */
      changed: string[] | null;
      /** @description text that helps searches find the memory but is not part of it */
      context: string;
      /** @description expiry time */
      expires_at: string | null;
      /** @description importance of the memory, 0 to 10 */
      importance: number;
      /**
       * @description an event (`episodic`) or a fact (`semantic`)
       * @enum {string}
       */
      memory_type: "episodic" | "semantic";
      /** @description any JSON object */
      metadata: {
        [key: string]: unknown;
      };
      /** @description content of the memory: any JSON object */
      payload: {
        [key: string]: unknown;
      };
      /** @description session to which the memory belonged */
      session_id: string | null;
      /** @description who or what wrote the memory, and from where: a string or an object, as provided by the client */
      source: string | {
        [key: string]: unknown;
      } | null;
      /** @description how much the memory can be trusted, 0 to 1, as provided by the client */
      trust: number | null;
      /** @description when the next version replaced it; null for the current version */
      until: string | null;
      /** @description user to whom the memory belonged */
      user_id: string | null;
      /** @description start of the validity period; null: no start */
      valid_from: string | null;
      /** @description end of the validity period (exclusive); null: no end */
      valid_to: string | null;
      /** @description version number, increased by each change; also the value of the `ETag` */
      version: number;
    };
    Weights: {
      /** @description weight of importance */
      importance?: number | null;
      /** @description weight of the keyword score */
      keyword?: number | null;
      /** @description weight of recency */
      recency?: number | null;
      /** @description weight of the semantic score */
      semantic?: number | null;
    };
  };
  responses: never;
  parameters: never;
  requestBodies: never;
  headers: never;
  pathItems: never;
}
export type ArchivedOut = components['schemas']['ArchivedOut'];
export type AuditOut = components['schemas']['AuditOut'];
export type AuditPageOut = components['schemas']['AuditPageOut'];
export type BulkDeletedOut = components['schemas']['BulkDeletedOut'];
export type BulkFound = components['schemas']['BulkFound'];
export type BulkGotOut = components['schemas']['BulkGotOut'];
export type BulkLinkBody = components['schemas']['BulkLinkBody'];
export type BulkLinkedOut = components['schemas']['BulkLinkedOut'];
export type BulkLinkResult = components['schemas']['BulkLinkResult'];
export type BulkNamesBody = components['schemas']['BulkNamesBody'];
export type BulkResult = components['schemas']['BulkResult'];
export type BulkStoreBody = components['schemas']['BulkStoreBody'];
export type BulkStoredOut = components['schemas']['BulkStoredOut'];
export type CellOut = components['schemas']['CellOut'];
export type ChangedOut = components['schemas']['ChangedOut'];
export type CheckOut = components['schemas']['CheckOut'];
export type CitationOut = components['schemas']['CitationOut'];
export type ContextAssembleQuery = components['schemas']['ContextAssembleQuery'];
export type ContextBody = components['schemas']['ContextBody'];
export type ContextItemOut = components['schemas']['ContextItemOut'];
export type ContextMessageOut = components['schemas']['ContextMessageOut'];
export type ContextPromptOut = components['schemas']['ContextPromptOut'];
export type ContextScores = components['schemas']['ContextScores'];
export type ConversationBody = components['schemas']['ConversationBody'];
export type ConversationDeletedOut = components['schemas']['ConversationDeletedOut'];
export type ConversationIdBody = components['schemas']['ConversationIdBody'];
export type ConversationIdsBody = components['schemas']['ConversationIdsBody'];
export type ConversationOut = components['schemas']['ConversationOut'];
export type ConversationPatch = components['schemas']['ConversationPatch'];
export type ConversationsCountQuery = components['schemas']['ConversationsCountQuery'];
export type ConversationsDeleteQuery = components['schemas']['ConversationsDeleteQuery'];
export type ConversationsExportQuery = components['schemas']['ConversationsExportQuery'];
export type ConversationsImportQuery = components['schemas']['ConversationsImportQuery'];
export type ConversationsListDeletedQuery = components['schemas']['ConversationsListDeletedQuery'];
export type ConversationsListMessagesByExternalIdQuery = components['schemas']['ConversationsListMessagesByExternalIdQuery'];
export type ConversationsListMessagesQuery = components['schemas']['ConversationsListMessagesQuery'];
export type ConversationsListQuery = components['schemas']['ConversationsListQuery'];
export type ConversationsOut = components['schemas']['ConversationsOut'];
export type CountOut = components['schemas']['CountOut'];
export type CoversOut = components['schemas']['CoversOut'];
export type DeletedConversationOut = components['schemas']['DeletedConversationOut'];
export type DeletedConversationsOut = components['schemas']['DeletedConversationsOut'];
export type DeletedMatchingOut = components['schemas']['DeletedMatchingOut'];
export type DeletedOut = components['schemas']['DeletedOut'];
export type DeleteMatchingBody = components['schemas']['DeleteMatchingBody'];
export type DeleteNamespaceBody = components['schemas']['DeleteNamespaceBody'];
export type ErasedOut = components['schemas']['ErasedOut'];
export type ExpandBody = components['schemas']['ExpandBody'];
export type ExportedLink = components['schemas']['ExportedLink'];
export type ExportOut = components['schemas']['ExportOut'];
export type ExtractionOut = components['schemas']['ExtractionOut'];
export type FactOut = components['schemas']['FactOut'];
export type FactsListQuery = components['schemas']['FactsListQuery'];
export type FactsOut = components['schemas']['FactsOut'];
export type FieldProblem = components['schemas']['FieldProblem'];
export type FolderBody = components['schemas']['FolderBody'];
export type FoundOut = components['schemas']['FoundOut'];
export type FullTextBody = components['schemas']['FullTextBody'];
export type FullTextOut = components['schemas']['FullTextOut'];
export type FullTextResultOut = components['schemas']['FullTextResultOut'];
export type GraphExportQuery = components['schemas']['GraphExportQuery'];
export type GraphNeighborsQuery = components['schemas']['GraphNeighborsQuery'];
export type GraphPathQuery = components['schemas']['GraphPathQuery'];
export type GraphUnlinkQuery = components['schemas']['GraphUnlinkQuery'];
export type HealthOut = components['schemas']['HealthOut'];
export type HealthzOut = components['schemas']['HealthzOut'];
export type HistoryOut = components['schemas']['HistoryOut'];
export type ImportErrorOut = components['schemas']['ImportErrorOut'];
export type ImportOut = components['schemas']['ImportOut'];
export type IndexStats = components['schemas']['IndexStats'];
export type IssuedKeyOut = components['schemas']['IssuedKeyOut'];
export type JobOut = components['schemas']['JobOut'];
export type KeyBody = components['schemas']['KeyBody'];
export type KeyedBody = components['schemas']['KeyedBody'];
export type KeyOut = components['schemas']['KeyOut'];
export type KeysListQuery = components['schemas']['KeysListQuery'];
export type KeysOut = components['schemas']['KeysOut'];
export type LabelBody = components['schemas']['LabelBody'];
export type LanguageModelStats = components['schemas']['LanguageModelStats'];
export type LeftOut = components['schemas']['LeftOut'];
export type LinkOut = components['schemas']['LinkOut'];
export type ListedOut = components['schemas']['ListedOut'];
export type ManifestOut = components['schemas']['ManifestOut'];
export type MapOut = components['schemas']['MapOut'];
export type MemoriesDeleteByIdQuery = components['schemas']['MemoriesDeleteByIdQuery'];
export type MemoriesDeleteByKeyQuery = components['schemas']['MemoriesDeleteByKeyQuery'];
export type MemoriesDeleteQuery = components['schemas']['MemoriesDeleteQuery'];
export type MemoriesGetByIdQuery = components['schemas']['MemoriesGetByIdQuery'];
export type MemoriesGetByKeyQuery = components['schemas']['MemoriesGetByKeyQuery'];
export type MemoriesGetQuery = components['schemas']['MemoriesGetQuery'];
export type MemoriesHistoryByIdQuery = components['schemas']['MemoriesHistoryByIdQuery'];
export type MemoriesHistoryByKeyQuery = components['schemas']['MemoriesHistoryByKeyQuery'];
export type MemoriesHistoryQuery = components['schemas']['MemoriesHistoryQuery'];
export type MemoriesLinksByIdQuery = components['schemas']['MemoriesLinksByIdQuery'];
export type MemoriesListQuery = components['schemas']['MemoriesListQuery'];
export type MemoriesMapQuery = components['schemas']['MemoriesMapQuery'];
export type MemoriesPatchByKeyQuery = components['schemas']['MemoriesPatchByKeyQuery'];
export type MemoriesPatchQuery = components['schemas']['MemoriesPatchQuery'];
export type MemoriesRestoreByIdQuery = components['schemas']['MemoriesRestoreByIdQuery'];
export type MemoriesRestoreQuery = components['schemas']['MemoriesRestoreQuery'];
export type MemoriesSearchByQueryQuery = components['schemas']['MemoriesSearchByQueryQuery'];
export type MemoriesStoreByKeyQuery = components['schemas']['MemoriesStoreByKeyQuery'];
export type MemoryEnvelope = components['schemas']['MemoryEnvelope'];
export type MemoryName = components['schemas']['MemoryName'];
export type MemoryOut = components['schemas']['MemoryOut'];
export type MessageBody = components['schemas']['MessageBody'];
export type MessageOut = components['schemas']['MessageOut'];
export type MessagesBody = components['schemas']['MessagesBody'];
export type MessagesOut = components['schemas']['MessagesOut'];
export type NamedLinkBody = components['schemas']['NamedLinkBody'];
export type NamespaceOut = components['schemas']['NamespaceOut'];
export type NamespacesListQuery = components['schemas']['NamespacesListQuery'];
export type NamespacesOut = components['schemas']['NamespacesOut'];
export type NeighborOut = components['schemas']['NeighborOut'];
export type NeighborsOut = components['schemas']['NeighborsOut'];
export type PageOut = components['schemas']['PageOut'];
export type PatchBody = components['schemas']['PatchBody'];
export type PathOut = components['schemas']['PathOut'];
export type PingOut = components['schemas']['PingOut'];
export type Policies = components['schemas']['Policies'];
export type PoliciesOut = components['schemas']['PoliciesOut'];
export type Problem = components['schemas']['Problem'];
export type ProposalOut = components['schemas']['ProposalOut'];
export type ProposalsListQuery = components['schemas']['ProposalsListQuery'];
export type ProposalsOut = components['schemas']['ProposalsOut'];
export type ProposedFact = components['schemas']['ProposedFact'];
export type ProvenanceOut = components['schemas']['ProvenanceOut'];
export type PruneBody = components['schemas']['PruneBody'];
export type PruneSuggestionOut = components['schemas']['PruneSuggestionOut'];
export type PruneSuggestionsOut = components['schemas']['PruneSuggestionsOut'];
export type PruningBody = components['schemas']['PruningBody'];
export type PruningSuggestionsQuery = components['schemas']['PruningSuggestionsQuery'];
export type QueryBody = components['schemas']['QueryBody'];
export type QueryOut = components['schemas']['QueryOut'];
export type QueryResultOut = components['schemas']['QueryResultOut'];
export type Quotas = components['schemas']['Quotas'];
export type QuotasOut = components['schemas']['QuotasOut'];
export type RatedOut = components['schemas']['RatedOut'];
export type ReadyOut = components['schemas']['ReadyOut'];
export type RebuildBody = components['schemas']['RebuildBody'];
export type RebuildOut = components['schemas']['RebuildOut'];
export type ReceiptOut = components['schemas']['ReceiptOut'];
export type RenameBody = components['schemas']['RenameBody'];
export type RestoreBody = components['schemas']['RestoreBody'];
export type RestoredOut = components['schemas']['RestoredOut'];
export type RotateBody = components['schemas']['RotateBody'];
export type SearchBody = components['schemas']['SearchBody'];
export type SearchOut = components['schemas']['SearchOut'];
export type ServiceOut = components['schemas']['ServiceOut'];
export type SingleOut = components['schemas']['SingleOut'];
export type StatsOut = components['schemas']['StatsOut'];
export type StatusBody = components['schemas']['StatusBody'];
export type StoreBody = components['schemas']['StoreBody'];
export type StoredOut = components['schemas']['StoredOut'];
export type SuggestionOut = components['schemas']['SuggestionOut'];
export type SuggestionsOut = components['schemas']['SuggestionsOut'];
export type SummariesCreateForConversationQuery = components['schemas']['SummariesCreateForConversationQuery'];
export type SummarizeBody = components['schemas']['SummarizeBody'];
export type SummaryOut = components['schemas']['SummaryOut'];
export type TenantBody = components['schemas']['TenantBody'];
export type TenantOut = components['schemas']['TenantOut'];
export type TenantPatch = components['schemas']['TenantPatch'];
export type TenantsListAuditQuery = components['schemas']['TenantsListAuditQuery'];
export type TenantsListQuery = components['schemas']['TenantsListQuery'];
export type TenantsOut = components['schemas']['TenantsOut'];
export type UnlinkedOut = components['schemas']['UnlinkedOut'];
export type UpkeepOut = components['schemas']['UpkeepOut'];
export type UpkeepPatch = components['schemas']['UpkeepPatch'];
export type UsageOut = components['schemas']['UsageOut'];
export type Used = components['schemas']['Used'];
export type VersionOut = components['schemas']['VersionOut'];
export type Weights = components['schemas']['Weights'];
