// The door itself: loading, keys, names of requests, and what is asked of the model's words.
#include <algorithm>
#include <thread>

#include "config/progress.hpp"
#include "test/actors/http/served.hpp"

using namespace quadrant;
using namespace quadrant::test;
using actors::finish;
using nlohmann::json;

TEST_CASE("while the model is loaded the door says so, and then serves") {
  open_door door;
  progress::report("loading weights", 3, 10, "layers");
  const auto health = fetch(door.port(), "/health");
  CHECK(health.status == 503);
  CHECK(health.has("Retry-After: "));
  const auto far = json::parse(health.body);
  CHECK(far["status"] == "loading");
  CHECK(far["progress"] == json({{"what", "loading weights"}, {"done", 3}, {"total", 10}, {"unit", "layers"}}));
  progress::report("loading weights", 10, 10, "layers");
  CHECK(!json::parse(fetch(door.port(), "/health").body).contains("progress"));
  for (const auto* path : {"/v1/chat/completions", "/v1/completions", "/tokenize"}) {
    const auto answer = ask_at(door.port(), path, question);
    CHECK(answer.status == 503);
    CHECK(answer.has("Retry-After: "));
    CHECK(error_in(answer)["code"] == "service_unavailable");
  }
  CHECK(fetch(door.port(), "/v1/models").status == 503);
  CHECK(fetch(door.port(), "/v1/nothing").status == 404);
  CHECK(fetch(door.port(), "/metrics").body.find("\nquadrant_serving 0\n") != std::string::npos);
  CHECK(json::parse(fetch(door.port(), "/version").body)["version"] == "1.2.3");

  scripted_engine engine{config()};
  door.server->serve(engine, text());
  CHECK(fetch(door.port(), "/health").status == 200);
  http_client client(door.port());
  client.post(chat, question);
  engine.next().sink->finished(0, finish::stop);
  CHECK(client.receive().status == 200);
  door.server.reset(); // before its engine
}

TEST_CASE("a door that never gets a model ends like any other") {
  open_door door;
  http_client client(door.port());
  client.get("/health");
  CHECK(client.receive().status == 503);
  CHECK(door.server->drain(std::chrono::seconds(10)) == 0);
}

TEST_CASE("a door ends at once, also in the moment of its tick") {
  actors::http::limits allowed;
  allowed.linger_ms = 1; // a tick every 5 ms
  for (int i = 0; i < 300; ++i) {
    open_door door(allowed);
    http_client client(door.port());
    client.get("/version");
    client.receive();
    std::this_thread::sleep_for(std::chrono::microseconds(4'000 + i % 100 * 10));
  }
}

TEST_CASE("where there are keys, one is needed, except to see how the server is") {
  served s({}, {"good", "other"});
  const auto bearer = [](const std::string& key) { return "Authorization: Bearer " + key + "\r\n"; };
  for (const auto* path : {"/health", "/metrics", "/version"}) CHECK(fetch(s.port(), path).status == 200);
  for (const auto& fields : {std::string(), bearer("bad"), std::string("Authorization: Basic good\r\n")})
    for (const auto* path : {"/v1/models", "/v1/nothing", "/v1/chat/completions"}) {
      const auto answer = fetch(s.port(), path, fields);
      CHECK(answer.status == 401);
      CHECK(answer.field("WWW-Authenticate") == "Bearer");
      CHECK(error_in(answer)["code"] == "invalid_api_key");
    }
  CHECK(ask(s.port(), question).status == 401);
  CHECK(fetch(s.port(), "/v1/models", bearer("good")).status == 200);
  http_client client(s.port());
  client.post(chat, question, bearer("other"));
  s.engine.next().sink->finished(0, finish::stop);
  CHECK(client.receive().status == 200);
}

TEST_CASE("a request keeps the name that its client gives, where it is one; every response has a name") {
  served s;
  CHECK(fetch(s.port(), "/health", "X-Request-Id: abc-1/2\r\n").field("X-Request-Id") == "abc-1/2");
  CHECK(fetch(s.port(), "/nowhere", "x-request-id: abc\r\n").field("X-Request-Id") == "abc");
  for (const std::string& odd : {std::string("two words"), std::string(129, 'x'), std::string("k\xc3\xa9y")}) {
    const auto name = fetch(s.port(), "/health", "X-Request-Id: " + odd + "\r\n").field("X-Request-Id");
    CHECK(name.starts_with("req-"));
  }
  http_client client(s.port());
  client.get("/health");
  const auto first = client.receive().field("X-Request-Id");
  client.get("/health");
  CHECK(client.receive().field("X-Request-Id") != first);
  client.post(chat, streamed, "X-Request-Id: mine\r\n");
  s.engine.next().sink->finished(0, finish::stop);
  CHECK(client.receive().field("X-Request-Id") == "mine");
  client.post(chat, question, "X-Request-Id: mine too\r\n");
  s.engine.next().sink->failed({errc::unavailable, "no"});
  CHECK(client.receive().field("X-Request-Id").starts_with("req-"));
  client.send("nonsense\r\n\r\n");
  CHECK(client.receive().field("X-Request-Id").starts_with("req-"));
}

TEST_CASE("text becomes ids and comes back") {
  served s;
  const auto tokenize = [&](const std::string& body) { return ask_at(s.port(), "/tokenize", body); };
  const auto words =
      json::parse(tokenize(R"({"model": "default", "prompt": "a violin<|im_end|>", "return_token_strs": true})").body);
  const auto ids = text().tokens().encode("a violin<|im_end|>", model::special_tokens::parse);
  CHECK(words["tokens"] == ids);
  CHECK(words["count"] == ids.size());
  CHECK(words["max_model_len"] == config().max_position_embeddings);
  std::string joined;
  for (const auto& one : words["token_strs"]) joined += one.get<std::string>();
  CHECK(joined == "a violin<|im_end|>");
  CHECK(json::parse(ask_at(s.port(), "/detokenize", json{{"tokens", ids}}.dump()).body)["prompt"] ==
        "a violin<|im_end|>");

  const auto asked = json::parse(tokenize(question).body);
  CHECK(asked["tokens"] == *text().prompt("hi"));
  CHECK(!asked.contains("token_strs"));
  const auto bare = json::parse(
      tokenize(R"({"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": false})").body);
  CHECK(bare["count"] < asked["count"]);

  CHECK(error_in(tokenize("{}"))["param"] == "prompt");
  CHECK(error_in(tokenize(R"({"prompt": 1})"))["param"] == "prompt");
  CHECK(error_in(tokenize(R"({"prompt": "a", "model": "b"})"))["code"] == "model_not_found");
  for (const auto* wrong : {"{}", R"({"tokens": "a"})", R"({"tokens": [-1]})", R"({"tokens": [100000000]})"})
    CHECK(error_in(ask_at(s.port(), "/detokenize", wrong))["param"] == "tokens");
}
