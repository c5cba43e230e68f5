// /v1/completions through client.completions.create.
import assert from "node:assert/strict";

/** Texts and ids, one prompt and several, with n of each. */
export async function prompts({ client, says, ids }) {
  const ask = async (prompt, more) => (await client().completions.create({ model: "hermes", prompt, max_tokens: 40, ...more })).choices.map((c) => c.text);
  assert.deepEqual(await ask("[hello]"), [says.hello]);
  assert.deepEqual(await ask([ids["[hello]"]]), [says.hello]);
  assert.deepEqual(await ask(["[hello]", "[count]"]), [says.hello, says.count]);
  assert.deepEqual(await ask([[ids["[count]"]], [ids["[hello]"]]], { n: 2 }), [says.count, says.count, says.hello, says.hello]);
  assert.deepEqual(await ask("[hello]", { echo: true, max_tokens: 1 }), ["[hello]Hello"]);
}

/** A completion stream joins to the whole completion. */
export async function completionStreams({ client, says }) {
  const stream = await client().completions.create(
    { model: "hermes", prompt: "[count]", max_tokens: 40, stream: true, stream_options: { include_usage: true } });
  let text = "", reason = null, usage = null;
  for await (const part of stream) {
    assert.equal(part.object, "text_completion");
    text += part.choices[0]?.text ?? "";
    reason = part.choices[0]?.finish_reason ?? reason;
    usage = part.usage ?? usage;
  }
  assert.deepEqual([text, reason, usage.completion_tokens], [says.count, "stop", 21]);
}

/** The old form of logprobs. */
export async function completionLogprobs({ client }) {
  const { choices: [c] } = await client().completions.create({ model: "hermes", prompt: "[dice]", max_tokens: 5, logprobs: 2 });
  assert.deepEqual(c.logprobs.tokens, [" I", " I", " I", " I", " I"]);
  assert.deepEqual(c.logprobs.text_offset, [0, 2, 4, 6, 8]);
  assert.equal(c.logprobs.token_logprobs.length, 5);
  for (const top of c.logprobs.top_logprobs) assert.deepEqual(Object.keys(top).sort(), [" I", " II"]);
}

/** What is not served is refused by name. */
export async function completionRefusals({ client, OpenAI }) {
  for (const more of [{ suffix: "x" }, { best_of: 2 }, { logprobs: 21 }])
    await assert.rejects(client().completions.create({ model: "hermes", prompt: "x", ...more }), (e) => {
      assert.ok(e instanceof OpenAI.BadRequestError, e.message);
      assert.equal(e.param, Object.keys(more)[0]);
      return true;
    });
}
