// Whole chat answers through client.chat.completions.create, and the models.
import assert from "node:assert/strict";

/** An answer has the fields of its type, and its usage adds up. */
export async function answers({ client, user, says }) {
  const a = await client().chat.completions.create({ model: "hermes", messages: user("[count]") });
  assert.equal(a.object, "chat.completion");
  assert.match(a.id, /^chatcmpl-/);
  assert.equal(a.model, "hermes");
  assert.ok(Math.abs(Date.now() / 1000 - a.created) < 600);
  assert.equal(a.choices.length, 1);
  const [{ index, message, finish_reason, logprobs }] = a.choices;
  assert.deepEqual({ index, finish_reason, logprobs }, { index: 0, finish_reason: "stop", logprobs: null });
  assert.equal(message.role, "assistant");
  assert.equal(message.content, says.count);
  assert.equal(a.usage.total_tokens, a.usage.prompt_tokens + a.usage.completion_tokens);
  assert.equal(a.usage.completion_tokens, 21);
}

/** Content may come in parts, and a developer or system message before the question. */
export async function contents({ client, user, says }) {
  const parts = [{ role: "system", content: "Be brief." }, { role: "user", content: [{ type: "text", text: "Say it." }, { type: "text", text: "[hello]" }] }];
  const a = await client().chat.completions.create({ model: "hermes", messages: parts });
  assert.equal(a.choices[0].message.content, says.hello);
}

/** stop, max_tokens and max_completion_tokens end an answer with their reasons. */
export async function ends({ client, user }) {
  const ask = async (more) => {
    const a = await client().chat.completions.create({ model: "hermes", messages: user("[count]"), ...more });
    return [a.choices[0].message.content, a.choices[0].finish_reason];
  };
  assert.deepEqual(await ask({ stop: " four" }), [" one two three", "stop"]);
  assert.deepEqual(await ask({ stop: ["e t", "zzz"] }), [" on", "stop"]);
  assert.deepEqual(await ask({ max_tokens: 2 }), [" one two", "length"]);
  assert.deepEqual(await ask({ max_completion_tokens: 3 }), [" one two three", "length"]);
}

/** n samples: the first is that of n = 1, usage counts all. */
export async function samples({ client, user }) {
  const body = { model: "hermes", messages: user("[dice]"), temperature: 1.3, seed: 21, max_tokens: 30 };
  const [one, three] = await Promise.all([1, 3].map((n) => client().chat.completions.create({ ...body, n })));
  assert.deepEqual(three.choices.map((c) => c.index), [0, 1, 2]);
  assert.equal(three.choices[0].message.content, one.choices[0].message.content);
  assert.equal(new Set(three.choices.map((c) => c.message.content)).size, 3);
  assert.equal(three.usage.completion_tokens, 90);
  assert.equal(three.usage.prompt_tokens, one.usage.prompt_tokens);
}

/** logprobs: one entry a token, the likeliest first, bytes that make the text. */
export async function logprobs({ client, user, says }) {
  const a = await client().chat.completions.create({ model: "hermes", messages: user("[violin]"), logprobs: true, top_logprobs: 3 });
  const { content } = a.choices[0].logprobs;
  const text = Buffer.from(content.flatMap((c) => c.bytes)).toString();
  assert.ok(text.startsWith(says.violin), text);
  for (const c of content) {
    assert.ok(c.logprob <= 0 && c.top_logprobs.length === 3);
    assert.equal(c.top_logprobs[0].logprob, c.logprob); // greedy
    assert.ok(c.top_logprobs[0].logprob >= c.top_logprobs[1].logprob && c.top_logprobs[1].logprob >= c.top_logprobs[2].logprob);
  }
}

/** logit_bias and penalties through the client's own types. */
export async function biases({ client, user, ids }) {
  const ask = async (more) =>
    (await client().chat.completions.create({ model: "hermes", messages: user("[dice]"), max_tokens: 4, ...more })).choices[0].message.content;
  assert.equal(await ask({}), " I I I I");
  assert.equal(await ask({ logit_bias: { [ids[" VI"]]: 100 } }), " VI VI VI VI");
  assert.equal(await ask({ presence_penalty: 2 }), " I II III IV");
  assert.equal(await ask({ frequency_penalty: 0.8 }), " I II I III");
}

/** Fields that are not OpenAI's go along in the body. */
export async function extras({ client, user, says }) {
  const ask = async (content, more) =>
    (await client().chat.completions.create({ model: "hermes", messages: user(content), max_tokens: 9, ...more })).choices[0].message.content;
  assert.equal(await ask("[hello]", { ignore_eos: true }), `${says.hello} on and on and`);
  assert.equal(await ask("[patient]", { min_tokens: 2 }), " well then");
  assert.equal(await ask("[stops]", { stop: "STOP", include_stop_str_in_output: true }), "before STOP");
  assert.ok(new Set((await ask("[dice]", { temperature: 2, top_k: 1, seed: 1 })).split(" ")).size === 2);
}

/** response_format json_object gives an object, whatever the model would rather say. */
export async function json({ client, user }) {
  const a = await client().chat.completions.create({ model: "hermes", messages: user("[json]"), response_format: { type: "json_object" } });
  assert.deepEqual(JSON.parse(a.choices[0].message.content), { answer: 42 });
  const real = client("default");
  await Promise.all([1, 2, 3, 4, 5, 6].map(async (seed) => {
    const { choices: [c] } = await real.chat.completions.create({
      model: "default", messages: user("What is a violin?"), response_format: { type: "json_object" }, temperature: 1, seed, max_tokens: 120 });
    assert.match(c.message.content, /^\s*\{/);
    if (c.finish_reason === "stop") assert.equal(typeof JSON.parse(c.message.content), "object");
    else assert.throws(() => JSON.parse(c.message.content));
  }));
}

/** Models are listed and found; the client's pages go over them. */
export async function models({ client, OpenAI }) {
  const list = [];
  for await (const model of client().models.list()) list.push(model);
  assert.equal(list.length, 1);
  assert.equal(list[0].id, "hermes");
  assert.equal(list[0].object, "model");
  assert.equal((await client().models.retrieve("hermes")).id, "hermes");
  await assert.rejects(client().models.retrieve("other"), OpenAI.NotFoundError);
}

/** Answers do not depend on who asks beside: seeds, alone and thirty at once. */
export async function crowds({ client, user }) {
  const words = ["violin", "river", "dog", "house", "tree", "car"];
  const ask = (i) => client("default").chat.completions.create(
    { model: "default", messages: user(`What is a ${words[i % 6]}?`), temperature: 1, seed: i % 10, max_tokens: 20, ignore_eos: true });
  const alone = [];
  for (let i = 0; i < 30; ++i) alone.push(i < 10 ? (await ask(i)).choices[0].message.content : null);
  const together = await Promise.all([...Array(30).keys()].map((i) => ask(i)));
  for (let i = 0; i < 10; ++i) assert.equal(together[i].choices[0].message.content, alone[i]);
}

/** withResponse shows the fields of the head; a request id goes through. */
export async function heads({ client, user }) {
  const { data, response, request_id } = await client().chat.completions
    .create({ model: "hermes", messages: user("[hello]") }, { headers: { "X-Request-Id": "client-17" } }).withResponse();
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type"), /^application\/json/);
  assert.equal(response.headers.get("x-request-id"), "client-17");
  assert.equal(request_id, "client-17");
  assert.equal(data._request_id, "client-17");
  const other = await client().chat.completions.create({ model: "hermes", messages: user("[hello]") });
  assert.ok(other._request_id);
}
