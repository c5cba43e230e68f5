// Tool calls through the client: its types, its stream helper, its loop of calls.
import assert from "node:assert/strict";

const weather = {
  type: "function",
  function: {
    name: "get_weather", description: "What the weather is in a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const RESULT = '{"celsius": 18}';

/** One call and two at once, as the client's types have them. */
export async function calls({ client, user }) {
  for (const [cue, cities] of [["[call]", ["Paris"]], ["[calls]", ["Paris", "Rome"]]]) {
    const { choices: [c] } = await client().chat.completions.create({ model: "hermes", messages: user(cue), tools: [weather] });
    assert.equal(c.finish_reason, "tool_calls");
    const got = c.message.tool_calls.map((t) => [t.type, t.function.name, JSON.parse(t.function.arguments).city]);
    assert.deepEqual(got, cities.map((city) => ["function", "get_weather", city]));
    assert.equal(new Set(c.message.tool_calls.map((t) => t.id)).size, cities.length);
  }
}

/** The stream helper puts calls together, and says when one is whole. */
export async function streamedCalls({ client, user }) {
  const stream = client().chat.completions.stream({ model: "hermes", messages: user("[calls]"), tools: [weather] });
  const done = [];
  stream.on("tool_calls.function.arguments.done", (call) => done.push([call.index, call.name, call.arguments]));
  const { choices: [c] } = await stream.finalChatCompletion();
  assert.equal(c.finish_reason, "tool_calls");
  assert.deepEqual(c.message.tool_calls.map((t) => JSON.parse(t.function.arguments).city), ["Paris", "Rome"]);
  assert.deepEqual(done.map(([index, name, args]) => [index, name, JSON.parse(args).city]), [[0, "get_weather", "Paris"], [1, "get_weather", "Rome"]]);
}

/** runTools asks, calls, sends the result and gets the answer, whole and streamed. */
export async function ranTools({ client, user, says }) {
  for (const stream of [false, true]) {
    const asked = [];
    const runner = client().chat.completions.runTools({
      model: "hermes", messages: user("[call]"), stream,
      tools: [{ ...weather, function: { ...weather.function, parse: JSON.parse, function: ({ city }) => (asked.push(city), RESULT) } }],
    });
    assert.equal(await runner.finalContent(), says[RESULT]);
    assert.deepEqual(asked, ["Paris"]);
    assert.equal((await runner.finalFunctionToolCall()).name, "get_weather");
    assert.equal(await runner.finalFunctionToolCallResult(), RESULT);
    assert.deepEqual(runner.messages.map((m) => m.role), ["user", "assistant", "tool", "assistant"]);
  }
}

/** tool_choice none, and tools that the model does not use. */
export async function unusedTools({ client, user, says }) {
  for (const more of [{ messages: user("[hello]") }, { messages: user("[call]"), tool_choice: "none" }]) {
    const { choices: [c] } = await client().chat.completions.create({ model: "hermes", tools: [weather], ...more });
    assert.equal(c.finish_reason, "stop");
    assert.equal(c.message.content, more.tool_choice ? says.call : says.hello);
    assert.ok(!c.message.tool_calls?.length);
  }
}
