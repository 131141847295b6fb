// Add memory to a Vercel AI SDK model: `node examples/ai-sdk.mjs`, with SOMA_API_KEY set.
// The model is scripted. Replace it with a provider's model, such as openai("gpt-5").
import { generateText, wrapLanguageModel } from "ai";
import { MockLanguageModelV3 } from "ai/test";
import { Client } from "@somamemory/client";
import { memoryMiddleware } from "@somamemory/client/ai-sdk";

const script = new MockLanguageModelV3({
  doGenerate: async ({ prompt }) => {
    const recalled = prompt.find((message) => message.role === "system");
    return {
      content: [{ type: "text", text: recalled ? `I remember: ${recalled.content.split("\n").at(-1)}` : "Noted." }],
      finishReason: { unified: "stop", raw: undefined },
      usage: { inputTokens: {}, outputTokens: {} },
      warnings: [],
    };
  },
});

const ada = new Client().user("ada");
for (const [conversation, prompt] of [["monday", "I am allergic to eggs."], ["tuesday", "Am I allergic to anything?"]]) {
  const model = wrapLanguageModel({ model: script, middleware: memoryMiddleware(ada, { conversation }) });
  console.log((await generateText({ model, prompt })).text);
}
