// An agent with a memory: `node examples/agent.ts`, with SOMA_API_KEY set.
import { Client } from "@somamemory/client";

const ada = new Client().user("ada");
const answer = (question: string, memories: string[]): string =>
  `(Your language model answers "${question}" here, knowing ${memories.join(" ")})`;

for (const said of ["I moved to Basel.", "Which museum is near my home?"]) {
  const hits = await ada.memories.search(said, { top_k: 3 });
  console.log(answer(said, hits.memories.map((hit) => String(hit.payload["text"]))));
  await ada.memories.store(said);
}
