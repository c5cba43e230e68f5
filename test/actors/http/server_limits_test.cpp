// Clients that come and go, are slow, malformed or too many; and a server that ends.
#include <algorithm>
#include <thread>

#include <sys/resource.h>

#include "test/actors/http/served.hpp"

using namespace quadrant;
using namespace quadrant::test;
using actors::finish;
using actors::http::http_server;
using nlohmann::json;

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
    asked.sink->finished(0, finish::cancelled);
  }
  CHECK(fetch(s.port(), "/health").status == 200);
  CHECK(fetch(s.port(), "/metrics").body.find("quadrant_requests_total{finish_reason=\"cancelled\"} 2\n") !=
        std::string::npos);
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

TEST_CASE("more prompts than may wait to be read are told 503, and those that fit are served") {
  actors::http::limits allowed;
  allowed.waiting_bytes = 1000;
  served s(allowed);
  std::string large = question;
  large.insert(large.size() - 1, std::string(1000, ' '));
  const auto refused = ask(s.port(), large);
  CHECK(refused.status == 503);
  CHECK(refused.has("Retry-After: "));
  for (int i = 0; i < 30; ++i) { // what has been read waits no more
    http_client client(s.port());
    client.post(chat, streamed);
    const auto submitted = s.engine.next();
    submitted.sink->finished(0, finish::stop);
    CHECK(client.receive().status == 200);
  }
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
      {post(R"({"messages": [{"role": "user", "content": "x"}], "n": 129})"), 400},
      {post(R"({"messages": [{"role": "user", "content": "x"}], "logit_bias": {"100000000": 1}})"), 400},
      {post(R"({"messages": [{"role": "user", "content": "x"}], "stop_token_ids": [100000000]})"), 400},
      {post(R"({"messages": [{"role": "user", "content": "x"}], "min_tokens": 5, "max_tokens": 4})"), 400},
      {post(R"({"messages": [{"role": "user", "content": "x"}], "tool_choice": "required"})"), 400},
      {post(R"({"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema"}})"), 400},
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
  asked.sink->finished(0, finish::stop);
  std::string rest;
  for (auto chunk = busy.next_chunk(); !chunk.empty(); chunk = busy.next_chunk()) rest += chunk;
  CHECK(rest.ends_with("data: [DONE]\n\n"));
  CHECK(busy.at_end());
  busy.hang_up();
  draining.join();
  CHECK(ended == 0);
  CHECK(!s.engine.cancelled(asked.id));
}

TEST_CASE("a thousand connections lie idle while 200 clients stream") {
  constexpr std::size_t idle = 1000, streams = 200;
  rlimit files{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  REQUIRE(files.rlim_cur > 2 * (idle + streams) + 50); // both ends are ours
  served s;
  std::vector<http_client> silent, talking;
  for (std::size_t i = 0; i < idle; ++i) silent.emplace_back(s.port());
  for (std::size_t i = 0; i < streams; ++i) talking.emplace_back(s.port()).post(chat, streamed);
  for (std::size_t i = 0; i < streams; ++i) {
    const auto asked = s.engine.next();
    say(*asked.sink, "one two");
    asked.sink->finished(0, finish::stop);
  }
  for (auto& client : talking) CHECK(client.receive().body.ends_with("data: [DONE]\n\n"));
  for (std::size_t i = 0; i < idle; i += 100) {
    silent[i].get("/health");
    CHECK(silent[i].receive().status == 200);
  }
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
  auto taken = http_server::start({.host = "127.0.0.1", .port = s.port()});
  CHECK(taken.error().code == errc::unavailable);
  CHECK(taken.error().message.find(std::to_string(s.port())) != std::string::npos);
  auto nowhere = http_server::start({.host = "nowhere.invalid", .port = 0});
  CHECK(nowhere.error().code == errc::invalid_argument);
}
