#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "actors/loadgen/duration_text.hpp"
#include "actors/loadgen/question_form.hpp"
#include "actors/loadgen/summary.hpp"
#include "actors/loadgen/target.hpp"
#include "actors/loadgen/workload.hpp"

using namespace quadrant;
using namespace quadrant::actors::loadgen;

TEST_CASE("times, lengths and objectives as a user writes them") {
  CHECK(*parse_duration("500ms") == 500'000'000);
  CHECK(*parse_duration("1.5s") == 1'500'000'000);
  CHECK(*parse_duration("2m") == 120'000'000'000);
  for (const auto* wrong : {"", "5", "s", "-1s", "0s", "1 s", "1e99h", "nans", "infs", "5sec"})
    CHECK(!parse_duration(wrong));
  CHECK(parse_length("7")->high == 7);
  CHECK(parse_length("7:9")->low == 7);
  for (const auto* wrong : {"", "0", "9:7", "7:", ":7", "7:8:9", "-1", "7.5", "100000001"}) CHECK(!parse_length(wrong));
  CHECK(parse_objective("tpot=50ms")->of == metric::tpot);
  CHECK(parse_objective("e2e=5s")->limit_ms == 5000);
  for (const auto* wrong : {"", "ttft", "ttft=", "ttft=5", "itl=5ms", "=5s", "TTFT=5s"}) CHECK(!parse_objective(wrong));
}

TEST_CASE("the address of a server") {
  const auto a = parse_url("http://127.0.0.1:8080", "");
  REQUIRE(a);
  CHECK(a->host == "127.0.0.1");
  CHECK(a->port == 8080);
  CHECK(a->prefix.empty());
  const auto b = parse_url("https://[::1]/proxy/v1/", "key");
  REQUIRE(b);
  CHECK(b->tls);
  CHECK(b->host == "::1");
  CHECK(b->port == 443);
  CHECK(b->prefix == "/proxy");
  CHECK(b->authority() == "[::1]:443");
  CHECK(request_bytes(*b, "/v1/models", "") ==
        "GET /proxy/v1/models HTTP/1.1\r\nHost: [::1]:443\r\nUser-Agent: quadrant-loadgen"
        "\r\nAuthorization: Bearer key\r\n\r\n");
  CHECK(request_bytes(*a, "/v1/x", "{}").ends_with("Content-Length: 2\r\n\r\n{}"));
  for (const auto* wrong :
       {"", "127.0.0.1", "http://", "http://:80", "ftp://a", "http://a:b", "http://a:0", "http://a:65536",
        "http://a:1 ", "http://[::1", "http://[::1]x:1", "http://u@a", "http://a/?q", "http://a\r\nX: y"})
    CHECK_MESSAGE(!parse_url(wrong, ""), wrong);
  CHECK(!parse_url("http://a", "a key\r\nX: y"));
}

TEST_CASE("a question in each form, and what is laid over it") {
  question_form form{.model = "m"};
  const auto chat = nlohmann::json::parse(form.streamed("hi \xff", 5));
  CHECK(chat["messages"][0]["role"] == "user");
  CHECK(chat["max_tokens"] == 5);
  CHECK(chat["ignore_eos"] == true);
  CHECK(chat["stream_options"]["include_usage"] == true);
  form.chat = form.ignore_eos = false;
  form.extra = nlohmann::ordered_json::parse(R"({"max_tokens": null, "max_completion_tokens": 9, "temperature": 0})");
  const auto text = nlohmann::json::parse(form.streamed("hi", 5));
  CHECK(text["prompt"] == "hi");
  CHECK(!text.contains("max_tokens"));
  CHECK(!text.contains("ignore_eos"));
  CHECK(text["max_completion_tokens"] == 9);
  const auto whole = nlohmann::json::parse(form.whole("hi", 1));
  CHECK(!whole.contains("stream"));
  CHECK(!whole.contains("stream_options"));
}
