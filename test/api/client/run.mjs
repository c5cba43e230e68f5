// The official client against running servers, case by case.
//   node run.mjs NODE_MODULES SETTINGS.json [CASE…]      a line {"case", "seconds", "error"} each; exit 1 if any has an error
// SETTINGS   {"servers": {"hermes", "tight", "default": a base URL}, "key": of "tight", "says": {chain: its text}, "ids": {piece: its id}}
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import * as chat from "./chat.mjs";
import * as completions from "./completions.mjs";
import * as errors from "./errors.mjs";
import * as streams from "./streams.mjs";
import * as tools from "./tools.mjs";

const [modules, file, ...only] = process.argv.slice(2);
const { default: OpenAI } = createRequire(resolve(modules, "_"))("openai");
const settings = JSON.parse(readFileSync(file, "utf8"));

// What every case is given.
const world = {
  ...settings,
  OpenAI,
  /** A client of a server; no retries unless asked for. */
  client: (server = "hermes", options = {}) =>
    new OpenAI({ baseURL: settings.servers[server], apiKey: server === "tight" ? settings.key : "none", maxRetries: 0, ...options }),
  user: (text) => [{ role: "user", content: text }],
};

const cases = Object.entries({ ...chat, ...completions, ...streams, ...tools, ...errors });
for (const name of only)
  if (!cases.some(([known]) => known === name)) throw new Error(`no case ${name}; there are ${cases.map(([known]) => known).join(" ")}`);
for (const [name, run] of cases) {
  if (only.length && !only.includes(name)) continue;
  const begun = performance.now();
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("it did not end within 60 s")), 60_000)));
  const error = await Promise.race([run(world), late]).then(() => null, (e) => e.stack || String(e));
  clearTimeout(timer);
  if (error) process.exitCode = 1;
  console.log(JSON.stringify({ case: name, seconds: (performance.now() - begun) / 1000, error }));
}
process.exit();
