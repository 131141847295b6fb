// Write through the faulty server at SOMA_URL, and print a ledger: `node tests/chaos.mjs OPERATIONS WORKERS CHANGES`.
// `python -m benchmarks.client_faults --client typescript` compares the ledger with the server's data.
import { Client, SomaError } from "@somamemory/client";

const [operations, workers, changes] = process.argv.slice(2).map(Number);
const client = new Client({ timeoutMs: 2000, maxRetries: 12 });
const ledger = { certain: {}, uncertain: {}, errors: {} };
const count = (counts, name) => (counts[name] = (counts[name] ?? 0) + 1);

async function work(worker) {
  for (let number = 0; number < operations / workers; number++) {
    const key = `t${worker}/${Math.floor(number / changes)}`;
    try {
      if (ledger.certain[key]) await client.memories.update({ key }, { importance: number % 10 });
      else await client.memories.store(key, { key });
      count(ledger.certain, key);
    } catch (error) {
      if (!(error instanceof SomaError)) throw error;
      count(ledger.uncertain, key);
      count(ledger.errors, error.name);
    }
  }
}

await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
console.log(JSON.stringify(ledger));
