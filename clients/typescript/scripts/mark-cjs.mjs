// Tell Node.js that the files in dist/cjs are CommonJS modules, although the package is an ES module.
import { writeFileSync } from "node:fs";

writeFileSync("dist/cjs/package.json", `${JSON.stringify({ type: "commonjs" })}\n`);
