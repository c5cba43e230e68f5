// What `quadrant tokenize` and `quadrant detokenize` print, by the reference implementations.
//   node tokenize_reference.mjs NODE_MODULES rust|js tokenize|detokenize TOKENIZER.json
// rust: @anush008/tokenizers, the Rust library itself in a prebuilt binary. js: @huggingface/tokenizers, its rewrite in JavaScript.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

const [modules, kind, command, file] = process.argv.slice(2);
const require = createRequire(resolve(modules, "_"));

const references = {
  rust() {
    const tokenizer = require("@anush008/tokenizers").Tokenizer.fromFile(file);
    return {
      tokenize: async (text) => (await tokenizer.encode(text)).getIds(),
      detokenize: (ids) => tokenizer.decode(ids, false),
    };
  },
  js() {
    const { Tokenizer } = require("@huggingface/tokenizers");
    // Undoing the space before a full stop is the Python wrapper's habit, not the tokenizer's.
    const tokenizer = new Tokenizer(JSON.parse(readFileSync(file, "utf8")), { clean_up_tokenization_spaces: false });
    return {
      tokenize: (text) => tokenizer.encode(text).ids,
      detokenize: (ids) => (ids.length > 0 ? tokenizer.decode(ids) : ""),
    };
  },
};

const run = references[kind]()[command];
for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await run(JSON.parse(line))));
