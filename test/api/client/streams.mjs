// Streams: raw, through the client's helper, cut off.
import assert from "node:assert/strict";

/** A stream is a role, pieces, a reason, and usage where it is asked for; joined it is the whole answer. */
export async function streamed({ client, user, says }) {
  const stream = await client().chat.completions.create({ model: "hermes", messages: user("[count]"), stream: true, stream_options: { include_usage: true } });
  const parts = [];
  for await (const part of stream) parts.push(part);
  assert.deepEqual(parts[0].choices[0].delta, { role: "assistant", content: "" });
  assert.equal(parts.map((p) => p.choices[0]?.delta.content ?? "").join(""), says.count);
  assert.deepEqual(parts.at(-2).choices[0].finish_reason, "stop");
  assert.deepEqual(parts.at(-1).choices, []);
  assert.equal(parts.at(-1).usage.completion_tokens, 21);
  assert.equal(new Set(parts.map((p) => p.id)).size, 1);
}

/** The helper of the client puts a stream together: content, message, final completion, usage, logprobs. */
export async function helped({ client, user, says }) {
  const stream = client().chat.completions.stream(
    { model: "hermes", messages: user("[count]"), logprobs: true, top_logprobs: 2, stream_options: { include_usage: true } });
  let text = "";
  stream.on("content", (delta, snapshot) => {
    text += delta;
    assert.equal(snapshot, text);
  });
  const done = await stream.finalChatCompletion();
  assert.equal(text, says.count);
  assert.equal(await stream.finalContent(), says.count);
  assert.equal((await stream.finalMessage()).role, "assistant");
  assert.equal((await stream.totalUsage()).completion_tokens, 21);
  assert.equal(done.choices[0].finish_reason, "stop");
  assert.ok(done.choices[0].logprobs.content.length >= 20);
}

/** n samples in one stream are kept apart by the helper. */
export async function helpedSamples({ client, user }) {
  const body = { model: "hermes", messages: user("[dice]"), n: 3, temperature: 1.2, seed: 4, max_tokens: 12 };
  const whole = await client().chat.completions.create(body);
  const done = await client().chat.completions.stream(body).finalChatCompletion();
  assert.deepEqual(done.choices.map((c) => c.message.content), whole.choices.map((c) => c.message.content));
}

/** A stream that is left, by break, by abort and by a signal, ends; the books are looked at when all cases are over. */
export async function left({ client, user, OpenAI }) {
  const body = { model: "hermes", messages: user("[words]"), max_tokens: 4000, stream: true };
  let seen = 0;
  for await (const _ of await client().chat.completions.create(body)) if (++seen > 5) break;
  const stream = await client().chat.completions.create(body);
  for await (const _ of stream) if (++seen > 10) stream.controller.abort();
  const stopper = new AbortController();
  const helper = client().chat.completions.stream({ ...body, stream: undefined }, { signal: stopper.signal });
  helper.on("content", () => stopper.abort());
  await assert.rejects(helper.done(), OpenAI.APIUserAbortError);
  const whole = new AbortController();
  setTimeout(() => whole.abort(), 100);
  const asked = client().chat.completions.create({ ...body, stream: false, n: 2 }, { signal: whole.signal });
  await assert.rejects(asked, OpenAI.APIUserAbortError);
  await assert.rejects(client("hermes", { timeout: 50 }).chat.completions.create({ ...body, stream: false }), OpenAI.APIConnectionTimeoutError);
}

/** The stream as text, through the helper's ReadableStream and back. */
export async function forwarded({ client, user, says }) {
  const stream = await client().chat.completions.create({ model: "hermes", messages: user("[violin]"), stream: true });
  let text = "", rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of stream.toReadableStream()) {
    rest += decoder.decode(bytes, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) text += JSON.parse(line).choices[0]?.delta.content ?? "";
  }
  assert.equal(text, says.violin);
}
