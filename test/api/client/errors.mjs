// Errors become the classes that the client has for them, and are tried again where that makes sense.
import assert from "node:assert/strict";

const refused = (promise, kind, status, more = {}) =>
  assert.rejects(promise, (e) => {
    assert.ok(e instanceof kind, `${e.constructor.name}: ${e.message}`);
    assert.equal(e.status, status);
    assert.ok(e.error.message && e.error.type);
    for (const [key, value] of Object.entries(more)) assert.equal(e[key], value);
    return true;
  });

/** 400, 401 and 404. */
export async function classes({ client, user, OpenAI }) {
  const ask = (server, options, more) => client(server, options).chat.completions.create({ model: "hermes", messages: user("[hello]"), ...more });
  await refused(ask("hermes", {}, { temperature: 3 }), OpenAI.BadRequestError, 400, { param: "temperature" });
  await refused(ask("hermes", {}, { messages: [] }), OpenAI.BadRequestError, 400, { param: "messages" });
  await refused(ask("hermes", {}, { stream: true, n: 0 }), OpenAI.BadRequestError, 400, { param: "n" });
  await refused(ask("hermes", {}, { max_tokens: 100000 }), OpenAI.BadRequestError, 400, { code: "context_length_exceeded" });
  await refused(ask("hermes", {}, { model: "other" }), OpenAI.NotFoundError, 404, { code: "model_not_found" });
  await refused(ask("tight", { apiKey: "wrong" }), OpenAI.AuthenticationError, 401, { code: "invalid_api_key" });
  await refused(client("tight", { apiKey: "wrong" }).models.list(), OpenAI.AuthenticationError, 401);
  await refused(client().embeddings.create({ model: "hermes", input: "x" }), OpenAI.NotFoundError, 404);
  assert.equal((await ask("tight")).choices[0].finish_reason, "stop");
}

/** Four streams fill the server `tight`; gives what empties it. */
async function filled({ client, user }) {
  const streams = [0, 1, 2, 3].map(() => {
    const begun = new AbortController();
    const body = { model: "hermes", messages: user("[words]"), max_tokens: 4000, stream: true };
    const asked = client("tight").chat.completions.create(body, { signal: begun.signal });
    asked.catch(() => {}); // two of them wait, and are aborted without an answer
    return begun;
  });
  await new Promise((done) => setTimeout(done, 200));
  return () => streams.forEach((s) => s.abort());
}

/** 429 where the queue is full, with Retry-After; the client tries again after that time, and is answered when there is room. */
export async function retries({ client, user, OpenAI, says }) {
  const empty = await filled({ client, user });
  const body = { model: "hermes", messages: user("[hello]") };
  await assert.rejects(client("tight").chat.completions.create(body), (e) => {
    assert.ok(e instanceof OpenAI.RateLimitError, `${e.constructor.name}: ${e.message}`);
    assert.equal(e.status, 429);
    assert.ok(Number(e.headers.get("retry-after")) >= 1);
    return true;
  });
  const begun = performance.now();
  const asked = client("tight", { maxRetries: 5 }).chat.completions.create(body);
  setTimeout(empty, 300);
  assert.equal((await asked).choices[0].message.content, says.hello);
  assert.ok(performance.now() - begun > 900, "it did not wait for Retry-After");
}

/** 503 of a server that has lost a worker is an InternalServerError to the client; a server that is not there, a connection error. */
export async function unavailable({ client, user, OpenAI }) {
  await refused(client("broken").chat.completions.create({ model: "default", messages: user("Hi") }), OpenAI.InternalServerError, 503);
  const nowhere = client("hermes", { baseURL: "http://127.0.0.1:1/v1" });
  await assert.rejects(nowhere.models.list(), OpenAI.APIConnectionError);
}
