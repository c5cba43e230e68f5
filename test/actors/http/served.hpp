// test/actors/http/served.hpp: the server over real sockets, before an engine that does what a test says.
// Threads one owner
#pragma once
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "actors/http/server.hpp"
#include "test/actors/http/http_client.hpp"
#include "test/actors/http/scripted_engine.hpp"

namespace quadrant::test {

inline const std::string question = R"({"messages": [{"role": "user", "content": "hi"}]})";
inline const std::string streamed = R"({"messages": [{"role": "user", "content": "hi"}], "stream": true})";
inline const std::string chat = "/v1/chat/completions";

inline const model::model_config& config() {
  static const auto read = model::read_model_config(QUADRANT_SOURCE_DIR "/model/default");
  REQUIRE(read);
  return *read;
}
inline const actors::chat_text& text() {
  static const auto opened = actors::chat_text::open(QUADRANT_SOURCE_DIR "/model/default", config());
  REQUIRE(opened);
  return *opened;
}

/// The server before it has a model.
struct open_door {
  std::unique_ptr<actors::http::http_server> server;

  explicit open_door(actors::http::limits allowed = {}, const std::vector<std::string>& keys = {}) {
    allowed.linger_ms = std::min<std::int64_t>(allowed.linger_ms, 200); // a test's clients do not always hang up
    actors::http::api_keys known;
    for (const auto& key : keys) REQUIRE(known.add(key));
    auto started = actors::http::http_server::start({.host = "127.0.0.1",
                                                     .port = 0,
                                                     .model = "default",
                                                     .version = "1.2.3",
                                                     .keys = std::move(known),
                                                     .allowed = allowed});
    REQUIRE(started);
    server = std::move(started).value();
  }
  [[nodiscard]] std::uint16_t port() const { return server->port(); }
};

struct served {
  scripted_engine engine{config()};
  std::unique_ptr<actors::http::http_server> server;

  explicit served(const actors::http::limits& allowed = {}, const std::vector<std::string>& keys = {},
                  const actors::chat_text& speaks = text())
      : server(std::move(open_door(allowed, keys).server)) {
    server->serve(engine, speaks);
  }
  [[nodiscard]] std::uint16_t port() const { return server->port(); }
};

/// Says `words` to the sink, from index `from`; returns the next index.
inline std::int32_t say(actors::token_sink& sink, const std::string& words, std::int32_t from = 0,
                        std::int32_t sample = 0) {
  for (const auto id : text().tokens().encode(words, model::special_tokens::as_text))
    sink.token({.sample = sample, .index = from++, .id = id});
  return from;
}

/// The events of a stream, each whole; the last is [DONE], and left out.
inline std::vector<nlohmann::json> events_in(std::string_view body) {
  std::vector<nlohmann::json> events;
  bool done = false;
  while (!body.empty()) {
    REQUIRE(body.starts_with("data: "));
    REQUIRE(!done);
    const auto end = body.find("\n\n");
    REQUIRE(end != body.npos);
    const auto data = body.substr(6, end - 6);
    body.remove_prefix(end + 2);
    done = data == "[DONE]";
    if (!done) events.push_back(nlohmann::json::parse(data));
  }
  REQUIRE(done);
  return events;
}

inline nlohmann::json error_in(const http_answer& answer) {
  const auto body = nlohmann::json::parse(answer.body, nullptr, false);
  REQUIRE(body.is_object());
  REQUIRE(body.contains("error"));
  for (const auto* field : {"message", "type", "param", "code"}) REQUIRE(body["error"].contains(field));
  return body["error"];
}

} // namespace quadrant::test
