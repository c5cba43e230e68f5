#include <doctest/doctest.h>

#include "actors/http/completion_request.hpp"

using namespace quadrant;
using namespace quadrant::actors::http;

namespace {

completion_request accepted(const std::string& text) {
  auto parsed = parse_completion_request(text, {});
  if (const auto* error = std::get_if<api_error>(&parsed)) FAIL("refused: " << text << ": " << error->message);
  return std::get<completion_request>(std::move(parsed));
}
std::string refused(const std::string& text) {
  auto parsed = parse_completion_request(text, {});
  if (std::holds_alternative<completion_request>(parsed)) FAIL("accepted: " << text);
  return std::get<api_error>(parsed).param;
}
using ids = std::vector<std::int32_t>;

} // namespace

TEST_CASE("a prompt is a text, ids, or a list of either") {
  CHECK(accepted(R"({"prompt": "a"})").prompts == std::vector<text_or_ids>{"a"});
  CHECK(accepted(R"({"prompt": [1, 2]})").prompts == std::vector<text_or_ids>{ids{1, 2}});
  CHECK(accepted(R"({"prompt": ["a", "b"]})").prompts == std::vector<text_or_ids>{"a", "b"});
  CHECK(accepted(R"({"prompt": [[1], [2, 3]]})").prompts == std::vector<text_or_ids>{ids{1}, ids{2, 3}});
  for (const std::string wrong :
       {R"({})", R"({"prompt": null})", R"({"prompt": 1})", R"({"prompt": []})", R"({"prompt": [[]]})",
        R"({"prompt": [-1]})", R"({"prompt": [1.5]})", R"({"prompt": [1, "a"]})", R"({"prompt": [[1], "a"]})",
        R"({"prompt": [3000000000]})", R"({"prompt": {"a": 1}})"})
    CHECK(refused(wrong) == "prompt");
  std::string many;
  for (int i = 0; i < 17; ++i) many += (i > 0 ? ",\"a\"" : "\"a\"");
  CHECK(refused("{\"prompt\": [" + many + "]}") == "prompt");
}

TEST_CASE("the other fields of a completion arrive, or are refused by name") {
  const auto r = accepted(R"({"prompt": "a", "logprobs": 5, "n": 2, "best_of": 2, "suffix": null, "max_tokens": 7})");
  CHECK(r.how.top_logprobs == 5);
  CHECK(r.how.n == 2);
  CHECK(r.how.max_new_tokens == 7);
  CHECK(accepted(R"({"prompt": "a"})").how.top_logprobs == -1);
  CHECK(accepted(R"({"prompt": "a", "echo": true})").echo);
  CHECK(refused(R"({"prompt": "a", "echo": true, "logprobs": 0})") == "echo");
  CHECK(refused(R"({"prompt": "a", "logprobs": 21})") == "logprobs");
  CHECK(refused(R"({"prompt": "a", "best_of": 2})") == "best_of");
  CHECK(refused(R"({"prompt": "a", "suffix": "b"})") == "suffix");
  CHECK(refused(R"({"prompt": ["a", "b"], "n": 65})") == "n");
}
