// What clients ask, and what they are told.
#include <algorithm>
#include <thread>

#include "test/actors/http/served.hpp"

using namespace quadrant;
using namespace quadrant::test;
using actors::finish;
using nlohmann::json;

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
    asked.sink->finished(0, finish::length);
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
  asked.sink->finished(0, finish::stop);
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
    asked.sink->finished(0, finish::length);
    client.receive();
  }
  CHECK(seeds[0] != seeds[1]);
  CHECK(seeds[2] == 7);
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
  asked.sink->finished(0, finish::length);
  client.receive();
  client.get("/metrics");
  const auto page = client.receive();
  CHECK(page.has("Content-Type: text/plain; version=0.0.4"));
  for (const auto& line :
       {"quadrant_kv_blocks_capacity 2048", "quadrant_kv_blocks_used 48", "quadrant_requests_running 0",
        "quadrant_requests_total{finish_reason=\"length\"} 1",
        "quadrant_http_responses_total{endpoint=\"/v1/chat/completions\",code=\"200\"} 1",
        "vllm:kv_cache_usage_perc{model_name=\"default\"} 0.0234375", "quadrant_time_to_first_token_seconds_count 1",
        "quadrant_time_per_output_token_seconds_count 1"})
    CHECK(page.body.find(std::string("\n") + line + "\n") != std::string::npos);
  CHECK(page.body.find("quadrant_generation_tokens_total " + std::to_string(tokens)) != std::string::npos);
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
  asked.sink->finished(0, finish::stop);
  const auto answer = client.receive();
  CHECK(!answer.has("Transfer-Encoding"));
  CHECK(answer.body.starts_with("data: {"));
  CHECK(answer.body.ends_with("data: [DONE]\n\n"));
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
      asked.sink->finished(0, finish::stop);
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
