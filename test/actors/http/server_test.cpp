// The server over real sockets, before an engine that does what a test says.
#include <algorithm>
#include <thread>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "actors/http/server.hpp"
#include "test/actors/http/http_client.hpp"
#include "test/actors/http/scripted_engine.hpp"

using namespace quadrant;
using namespace quadrant::test;
using actors::finish;
using actors::http::http_server;
using nlohmann::json;

namespace {

const std::string question = R"({"messages": [{"role": "user", "content": "hi"}]})";
const std::string streamed = R"({"messages": [{"role": "user", "content": "hi"}], "stream": true})";
const std::string chat = "/v1/chat/completions";

const model::model_config& config() {
  static const auto read = model::read_model_config(QUADRANT_SOURCE_DIR "/model/default");
  REQUIRE(read);
  return *read;
}
const actors::chat_text& text() {
  static const auto opened = actors::chat_text::open(QUADRANT_SOURCE_DIR "/model/default", config());
  REQUIRE(opened);
  return *opened;
}

struct served {
  scripted_engine engine{config()};
  std::unique_ptr<http_server> server;

  explicit served(actors::http::limits allowed = {}) {
    allowed.linger_ms = std::min<std::int64_t>(allowed.linger_ms, 200); // a test's clients do not always hang up
    auto started =
        http_server::start({.host = "127.0.0.1", .port = 0, .model = "default", .allowed = allowed}, engine, text());
    REQUIRE(started);
    server = std::move(started).value();
  }
  [[nodiscard]] std::uint16_t port() const { return server->port(); }
};

/// Says `words` to the sink, from index `from`; returns the next index.
std::int32_t say(actors::token_sink& sink, const std::string& words, std::int32_t from = 0) {
  for (const auto id : text().tokens().encode(words, model::special_tokens::as_text)) sink.token(from++, id, 0);
  return from;
}

json error_in(const http_answer& answer) {
  const auto body = json::parse(answer.body, nullptr, false);
  REQUIRE(body.is_object());
  REQUIRE(body.contains("error"));
  for (const auto* field : {"message", "type", "param", "code"}) REQUIRE(body["error"].contains(field));
  return body["error"];
}

} // namespace

TEST_CASE("a plain answer comes whole, on a connection that can be used again") {
  served s;
  http_client client(s.port());
  for (int turn = 0; turn < 2; ++turn) {
    client.post(chat, question);
    const auto asked = s.engine.next();
    CHECK(asked.what.tokens == *text().prompt("hi"));
    CHECK(asked.what.stop_tokens == text().stop_tokens());
    CHECK(asked.what.sampling.temperature == 0);
    say(*asked.sink, "a small bird");
    asked.sink->finished(finish::length);
    const auto answer = client.receive();
    CHECK(answer.status == 200);
    CHECK(answer.has("Content-Type: application/json"));
    CHECK(answer.has("Connection: keep-alive"));
    const auto body = json::parse(answer.body);
    CHECK(body["choices"][0]["message"]["content"] == "a small bird");
    CHECK(body["choices"][0]["finish_reason"] == "length");
    CHECK(!s.engine.cancelled(asked.id));
  }
}

TEST_CASE("a stream's tokens arrive while it is made") {
  served s;
  http_client client(s.port());
  client.post(chat, streamed);
  const auto asked = s.engine.next();
  auto at = say(*asked.sink, "one");
  const auto head = client.receive(false);
  CHECK(head.status == 200);
  CHECK(head.has("Content-Type: text/event-stream"));
  std::string came;
  while (came.find("one") == std::string::npos) came += client.next_chunk(); // before the second word is said
  say(*asked.sink, " two", at);
  asked.sink->finished(finish::stop);
  for (auto chunk = client.next_chunk(); !chunk.empty(); chunk = client.next_chunk()) came += chunk;
  CHECK(came.find(R"("delta":{"role":"assistant","content":""})") < came.find("one"));
  CHECK(came.find(R"("content":" two")") != std::string::npos);
  CHECK(came.ends_with("data: [DONE]\n\n"));
  client.get("/health"); // the connection goes on
  CHECK(client.receive().status == 200);
}

TEST_CASE("a request without a seed gets one of its own, and with one keeps it") {
  served s;
  http_client client(s.port());
  std::vector<std::uint64_t> seeds;
  for (const std::string more : {"", "", R"(, "seed": 7, "ignore_eos": true, "temperature": 1)"}) {
    client.post(chat, R"({"messages": [{"role": "user", "content": "hi"}])" + more + "}");
    const auto asked = s.engine.next();
    seeds.push_back(asked.what.sampling.seed);
    CHECK(asked.what.stop_tokens.empty() == !more.empty());
    CHECK(asked.what.sampling.temperature == (more.empty() ? 0 : 1));
    asked.sink->finished(finish::length);
    client.receive();
  }
  CHECK(seeds[0] != seeds[1]);
  CHECK(seeds[2] == 7);
}

TEST_CASE("a client that hangs up cancels its request at once") {
  served s;
  for (const bool stream : {false, true}) {
    CAPTURE(stream);
    http_client client(s.port());
    client.post(chat, stream ? streamed : question);
    const auto asked = s.engine.next();
    if (stream) {
      say(*asked.sink, "one");
      client.receive(false);
    }
    client.hang_up();
    s.engine.wait_for_cancel(asked.id);
    say(*asked.sink, "into the void"); // late words harm nobody
    asked.sink->finished(finish::cancelled);
  }
  CHECK(fetch(s.port(), "/health").status == 200);
  CHECK(fetch(s.port(), "/metrics").body.find("quadrant_requests_total{finish_reason=\"cancelled\"} 2\n") !=
        std::string::npos);
}

TEST_CASE("a stop string ends the stream, and the request is cancelled") {
  served s;
  http_client client(s.port());
  client.post(chat, R"({"messages": [{"role": "user", "content": "hi"}], "stream": true, "stop": ["three"]})");
  const auto asked = s.engine.next();
  say(*asked.sink, "one two three four");
  const auto answer = client.receive();
  s.engine.wait_for_cancel(asked.id);
  CHECK(answer.body.find("two") != std::string::npos);
  CHECK(answer.body.find("thr") == std::string::npos);
  CHECK(answer.body.find(R"("finish_reason":"stop")") != std::string::npos);
  CHECK(answer.body.ends_with("data: [DONE]\n\n"));
}

TEST_CASE("what fails before the first token has a status of its own, a stream too") {
  served s;
  const std::pair<errc, int> codes[] = {{errc::out_of_blocks, 429},    {errc::unavailable, 503}, {errc::peer_lost, 503},
                                        {errc::invalid_argument, 400}, {errc::deadline, 504},    {errc::numeric, 500}};
  for (const auto& [code, status] : codes)
    for (const auto& body : {question, streamed}) {
      http_client client(s.port());
      client.post(chat, body);
      s.engine.next().sink->failed({code, "it went wrong"});
      const auto answer = client.receive();
      CHECK(answer.status == status);
      CHECK(answer.has("Retry-After: ") == (status == 429 || status == 503));
      CHECK(error_in(answer)["message"] == "it went wrong");
    }
}

TEST_CASE("a failure within a stream is an event, and the connection closes") {
  served s;
  http_client client(s.port());
  client.post(chat, streamed);
  const auto asked = s.engine.next();
  say(*asked.sink, "one");
  asked.sink->failed({errc::peer_lost, "worker decode.0 was lost"});
  const auto answer = client.receive();
  CHECK(answer.status == 200);
  CHECK(answer.body.find(R"(data: {"error":{"message":"worker decode.0 was lost")") != std::string::npos);
  CHECK(answer.body.find("[DONE]") == std::string::npos);
  CHECK(client.at_end());
}

TEST_CASE("a client that does not read is dropped: by what it leaves unread, or by the time it does") {
  actors::http::limits by_bytes, by_time;
  by_bytes.kernel_send_bytes = by_time.kernel_send_bytes = 4096;
  by_bytes.unsent_bytes = 16 << 10;
  by_bytes.stall_ms = 3'600'000;
  by_time.unsent_bytes = 1 << 30;
  by_time.stall_ms = 50;
  for (const auto& allowed : {by_bytes, by_time}) {
    served s(allowed);
    http_client client(s.port(), 4096);
    client.post(chat, streamed);
    const auto asked = s.engine.next();
    for (int i = 0; i < 5000 && !s.engine.cancelled(asked.id); ++i) say(*asked.sink, "word", i);
    s.engine.wait_for_cancel(asked.id);
  }
}

TEST_CASE("a client that is too slow to ask is told so") {
  actors::http::limits allowed;
  allowed.head_ms = allowed.body_ms = allowed.linger_ms = 50;
  served s(allowed);
  http_client no_head(s.port()), no_body(s.port());
  no_head.send("GET /hea");
  no_body.send("POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 10\r\n\r\n123");
  CHECK(no_head.receive().status == 408);
  CHECK(no_head.at_end());
  CHECK(no_body.receive().status == 408);
  CHECK(no_body.at_end());
}

TEST_CASE("a client that asks nothing is let go") {
  actors::http::limits allowed;
  allowed.idle_ms = 50;
  served s(allowed);
  http_client silent(s.port());
  CHECK(silent.at_end());
}

TEST_CASE("one connection above the limit is told 503; when one goes, there is room again") {
  actors::http::limits allowed;
  allowed.connections = 2;
  served s(allowed);
  http_client first(s.port());
  first.get("/health");
  CHECK(first.receive().status == 200);
  {
    http_client second(s.port());
    second.get("/health");
    CHECK(second.receive().status == 200);
    http_client third(s.port());
    CHECK(third.receive().status == 503);
    CHECK(third.at_end());
  }
  const auto let_in = [&] { // the server notices in its own time; who is turned away while asking may see a reset only
    try {
      return fetch(s.port(), "/health").status == 200;
    } catch (const std::runtime_error&) {
      return false;
    }
  };
  int tries = 0;
  while (!let_in() && ++tries < 10'000) std::this_thread::yield();
  CHECK(tries < 10'000);
}

TEST_CASE("the model is listed, and another one is not found") {
  served s;
  const auto list = json::parse(fetch(s.port(), "/v1/models").body);
  CHECK(list["object"] == "list");
  REQUIRE(list["data"].size() == 1);
  CHECK(list["data"][0]["id"] == "default");
  CHECK(json::parse(fetch(s.port(), "/v1/models/default").body)["id"] == "default");
  CHECK(error_in(fetch(s.port(), "/v1/models/other"))["code"] == "model_not_found");
  const auto answer = ask(s.port(), R"({"model": "other", "messages": [{"role": "user", "content": "hi"}]})");
  CHECK(answer.status == 404);
  CHECK(error_in(answer)["code"] == "model_not_found");
}

TEST_CASE("health is the cluster's") {
  served s;
  CHECK(fetch(s.port(), "/health").status == 200);
  actors::cluster_status down;
  down.note = "worker decode.0 was lost (killed)";
  s.engine.set_status(down);
  const auto answer = fetch(s.port(), "/health");
  CHECK(answer.status == 503);
  CHECK(error_in(answer)["message"] == down.note);
}

TEST_CASE("metrics are Prometheus text with the cluster's books") {
  served s;
  actors::cluster_status now;
  now.serving = true;
  now.blocks_total = 2048, now.blocks_free = 2000, now.blocks_used = 48;
  s.engine.set_status(now);
  http_client client(s.port());
  client.post(chat, question);
  const auto asked = s.engine.next();
  const auto tokens = say(*asked.sink, "one two");
  asked.sink->finished(finish::length);
  client.receive();
  client.get("/metrics");
  const auto page = client.receive();
  CHECK(page.has("Content-Type: text/plain; version=0.0.4"));
  for (const auto& line :
       {"quadrant_kv_blocks_capacity 2048", "quadrant_kv_blocks_used 48", "quadrant_requests_running 0",
        "quadrant_requests_total{finish_reason=\"length\"} 1", "quadrant_time_to_first_token_seconds_count 1",
        "quadrant_time_per_output_token_seconds_count 1"})
    CHECK(page.body.find(std::string("\n") + line + "\n") != std::string::npos);
  CHECK(page.body.find("quadrant_generation_tokens_total " + std::to_string(tokens)) != std::string::npos);
}

TEST_CASE("malformed requests get their 4xx, and the server goes on") {
  served s;
  const auto post = [](const std::string& body) {
    return "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  };
  std::string long_message = R"({"messages": [{"role": "user", "content": ")";
  for (int i = 0; i < 3000; ++i) long_message += "violin ";
  long_message += R"("}]})";
  const std::pair<std::string, int> cases[] = {
      {"GET /nowhere HTTP/1.1\r\n\r\n", 404},
      {"GET / HTTP/1.1\r\n\r\n", 404},
      {"GET /v1/chat/completions HTTP/1.1\r\n\r\n", 405},
      {"POST /health HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405},
      {"DELETE /v1/models HTTP/1.1\r\n\r\n", 405},
      {"BREW /metrics HTTP/1.1\r\n\r\n", 405},
      {"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413},
      {"GET /health HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n", 431},
      {"\r\n\r\n", 400},
      {"hello\r\n\r\n", 400},
      {"GET /health HTTP/2.0\r\n\r\n", 400},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15), 400}, // TLS at a plain door
      {"GET /health HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400},
      {post(""), 400},
      {post("{"), 400},
      {post("null"), 400},
      {post("{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\xfe\"}]}"), 400},
      {post(std::string(100'000, '[')), 400},
      {post(R"({"messages": [{"role": "user", "content": "x"}], "n": 2})"), 400},
      {post(R"({"messages": [{"role": "user", "content": "x"}], "max_tokens": 100000})"), 400},
      {post(long_message), 400},
  };
  for (const auto& [bytes, status] : cases) {
    CAPTURE(bytes.substr(0, 60));
    http_client client(s.port());
    client.send(bytes);
    const auto answer = client.receive();
    CHECK(answer.status == status);
    CHECK(error_in(answer)["type"] == "invalid_request_error");
    CHECK(answer.has("Allow: ") == (status == 405));
  }
  CHECK(error_in(ask(s.port(), long_message))["code"] == "context_length_exceeded");
  CHECK(fetch(s.port(), "/health").status == 200);
}

TEST_CASE("a body over the limit is answered though the client is still sending it") {
  served s;
  http_client client(s.port());
  client.post(chat, std::string(3 << 20, ' '));
  CHECK(client.receive().status == 413);
}

TEST_CASE("requests sent ahead are answered in order") {
  served s;
  http_client client(s.port());
  client.send("GET /v1/models HTTP/1.1\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\nHEAD /health HTTP/1.1\r\n\r\nGET /metrics "
              "HTTP/1.1\r\n\r\n");
  CHECK(client.receive().status == 200);
  CHECK(client.receive().status == 404);
  const auto head = client.receive(false);
  CHECK(head.status == 200);
  CHECK(head.has("Content-Length: "));
  CHECK(client.receive().body.starts_with("# HELP "));
}

TEST_CASE("an HTTP/1.0 client gets a stream without chunks, to the end of the connection") {
  served s;
  http_client client(s.port());
  client.send("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: " + std::to_string(streamed.size()) + "\r\n\r\n" +
              streamed);
  const auto asked = s.engine.next();
  say(*asked.sink, "one");
  asked.sink->finished(finish::stop);
  const auto answer = client.receive();
  CHECK(!answer.has("Transfer-Encoding"));
  CHECK(answer.body.starts_with("data: {"));
  CHECK(answer.body.ends_with("data: [DONE]\n\n"));
}

TEST_CASE("drain lets answers end, and takes nothing new") {
  served s;
  http_client busy(s.port()), idle(s.port());
  idle.get("/health");
  CHECK(idle.receive().status == 200);
  busy.post(chat, streamed);
  const auto asked = s.engine.next();
  say(*asked.sink, "one");
  busy.receive(false);
  std::size_t ended = 99;
  std::thread draining([&] { ended = s.server->drain(std::chrono::minutes(1)); });
  CHECK(idle.at_end());
  CHECK_THROWS(http_client(s.port()));
  asked.sink->finished(finish::stop);
  std::string rest;
  for (auto chunk = busy.next_chunk(); !chunk.empty(); chunk = busy.next_chunk()) rest += chunk;
  CHECK(rest.ends_with("data: [DONE]\n\n"));
  CHECK(busy.at_end());
  busy.hang_up();
  draining.join();
  CHECK(ended == 0);
  CHECK(!s.engine.cancelled(asked.id));
}

TEST_CASE("a drain that runs out of patience ends what is left with an error") {
  served s;
  http_client stream(s.port()), whole(s.port());
  stream.post(chat, streamed);
  const auto first = s.engine.next();
  whole.post(chat, question);
  const auto second = s.engine.next();
  say(*first.sink, "one");
  stream.receive(false);
  CHECK(s.server->drain(std::chrono::milliseconds(1)) == 2);
  s.engine.wait_for_cancel(first.id);
  s.engine.wait_for_cancel(second.id);
  std::string rest;
  for (auto chunk = stream.next_chunk(); !chunk.empty(); chunk = stream.next_chunk()) rest += chunk;
  CHECK(rest.find("data: {\"error\":") != std::string::npos);
  CHECK(whole.receive().status == 503);
}

TEST_CASE("a sink may outlive its connection and its server") {
  std::vector<std::shared_ptr<actors::token_sink>> sinks;
  {
    served s;
    http_client client(s.port());
    client.post(chat, streamed);
    sinks.push_back(s.engine.next().sink);
    s.server.reset();
  }
  say(*sinks[0], "into the void");
  sinks[0]->failed({errc::cancelled, "over"});
}

TEST_CASE("a port that is taken and a host that is none give one clear line") {
  served s;
  auto taken =
      http_server::start({.host = "127.0.0.1", .port = s.port(), .model = "default", .allowed = {}}, s.engine, text());
  CHECK(taken.error().code == errc::unavailable);
  CHECK(taken.error().message.find(std::to_string(s.port())) != std::string::npos);
  auto nowhere =
      http_server::start({.host = "nowhere.invalid", .port = 0, .model = "default", .allowed = {}}, s.engine, text());
  CHECK(nowhere.error().code == errc::invalid_argument);
}

TEST_CASE("32 clients stream at once, and each gets its own words") {
  served s;
  constexpr int clients = 32;
  std::vector<std::string> heard(clients);
  std::vector<std::thread> threads;
  for (int c = 0; c < clients; ++c)
    threads.emplace_back([&, c] {
      const auto answer = ask(s.port(), R"({"messages": [{"role": "user", "content": ")" + std::to_string(c) +
                                            R"("}], "stream": true})");
      heard[std::size_t(c)] = answer.body;
    });
  std::vector<std::thread> talkers;
  for (int c = 0; c < clients; ++c)
    talkers.emplace_back([asked = s.engine.next()] {
      const auto prompt = text().tokens().decode(asked.what.tokens, true); // the number is in it
      const auto at = prompt.find_first_of("0123456789");
      const auto number = prompt.substr(at, prompt.find_first_not_of("0123456789", at) - at);
      std::int32_t index = 0;
      for (int i = 0; i < 20; ++i) index = say(*asked.sink, "<" + number + ">", index);
      asked.sink->finished(finish::stop);
    });
  for (auto& t : talkers) t.join();
  for (auto& t : threads) t.join();
  for (int c = 0; c < clients; ++c) {
    std::string said, expected;
    for (std::size_t at = 0; (at = heard[std::size_t(c)].find("data: {", at)) != std::string::npos; ++at) {
      const auto end = heard[std::size_t(c)].find("\n\n", at);
      const auto event = json::parse(heard[std::size_t(c)].substr(at + 6, end - at - 6));
      said += event["choices"][0]["delta"].value("content", "");
    }
    for (int i = 0; i < 20; ++i) expected += "<" + std::to_string(c) + ">";
    CHECK(said == expected);
  }
}
