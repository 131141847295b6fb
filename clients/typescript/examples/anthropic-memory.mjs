// Claude's memory tool with files on the server: `node examples/anthropic-memory.mjs`, with SOMA_API_KEY set.
// The commands are scripted. With a model, pass the tool to anthropic.beta.messages.toolRunner({ tools: [tool], … }).
import { betaMemoryTool } from "@anthropic-ai/sdk/helpers/beta/memory";
import { Client } from "@somamemory/client";
import { SomaMemoryTool } from "@somamemory/client/anthropic";

const tool = betaMemoryTool(new SomaMemoryTool(new Client(), "users/ada/files"));
const path = "/memories/preferences.md";
for (const command of [
  { command: "create", path, file_text: "Ada drinks tea.\n" },
  { command: "str_replace", path, old_str: "tea", new_str: "coffee" },
  { command: "view", path },
  { command: "delete", path },
]) {
  console.log(await tool.run(command));
}
