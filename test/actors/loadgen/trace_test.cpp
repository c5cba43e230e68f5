#include <sstream>

#include <doctest/doctest.h>

#include "actors/loadgen/trace.hpp"

using namespace quadrant;
using namespace quadrant::actors::loadgen;

namespace {

result<std::vector<trace_row>> read(const std::string& text, std::size_t limit = 1000) {
  std::istringstream in(text);
  return read_trace(in, "t", limit);
}

std::string problem(const std::string& text) {
  const auto rows = read(text);
  REQUIRE(!rows);
  CHECK(rows.error().code == errc::invalid_argument);
  return rows.error().message;
}

const std::string azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

} // namespace

TEST_CASE("a Mooncake trace is read as it stands, from its first row on") {
  const auto rows = read("{\"timestamp\": 500, \"input_length\": 600, \"output_length\": 7, \"hash_ids\": [46, 47]}\r\n"
                         "\n{\"timestamp\": 1500.5, \"input_length\": 0, \"output_length\": 0}");
  REQUIRE(rows);
  REQUIRE(rows->size() == 2);
  CHECK((*rows)[0].at_ns == 0);
  CHECK((*rows)[0].input_tokens == 600);
  CHECK((*rows)[0].output_tokens == 7);
  CHECK((*rows)[0].blocks == std::vector<std::uint64_t>{46, 47});
  CHECK((*rows)[1].at_ns == 1'000'500'000);
  CHECK((*rows)[1].input_tokens == 1); // a request asks something
  CHECK((*rows)[1].output_tokens == 1);
  CHECK((*rows)[1].blocks.empty());
}

TEST_CASE("an Azure trace is read over midnight, with and without a zone") {
  const auto rows = read("\xef\xbb\xbf" + azure +
                         "2023-12-31 23:59:59.9799600,4808,10\r\n2024-01-01 00:00:00.0000001+00:00,34,12\n"
                         "2024-01-01T00:00:01Z,5,6\n");
  REQUIRE(rows);
  REQUIRE(rows->size() == 3);
  CHECK((*rows)[0].input_tokens == 4808);
  CHECK((*rows)[1].at_ns == 20'040'100);
  CHECK((*rows)[1].output_tokens == 12);
  CHECK((*rows)[2].at_ns == 1'020'040'000);
}

TEST_CASE("rows come in the order of their times; a limit is of the file's rows") {
  const auto text = azure + "2023-11-16 18:17:05,1,1\n2023-11-16 18:17:04,2,2\nnonsense\n";
  const auto rows = read(text, 2);
  REQUIRE(rows);
  CHECK((*rows)[0].input_tokens == 2);
  CHECK((*rows)[1].at_ns == 1'000'000'000);
  CHECK(problem(text).starts_with("t:4: "));
}

TEST_CASE("a line that is wrong is named with what is wrong") {
  const auto mooncake = [](const std::string& line) {
    return problem("{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": []}\n" + line + "\n");
  };
  CHECK(mooncake("{") == "t:2: is no JSON object");
  CHECK(mooncake("[1]") == "t:2: is no JSON object");
  CHECK(mooncake("{}") == "t:2: timestamp must be a number of milliseconds, 0 or more");
  for (const auto* time : {"-1", "1e300", "\"1\"", "null"})
    CHECK(mooncake("{\"timestamp\": " + std::string(time) + "}").find("timestamp must be") != std::string::npos);
  for (const auto* tokens : {"-1", "1.5", "100000001", "18446744073709551615", "\"1\""})
    CHECK(mooncake("{\"timestamp\": 0, \"input_length\": " + std::string(tokens) + "}") ==
          "t:2: input_length must be a whole number from 0 to 100000000");
  CHECK(mooncake("{\"timestamp\": 0, \"input_length\": 1}").find("output_length") != std::string::npos);
  for (const auto* ids : {"1", "[1.5]", "[null]", "{}"})
    CHECK(mooncake("{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": " + std::string(ids) +
                   "}") == "t:2: hash_ids must be a list of whole numbers");

  for (const auto* row : {"1", "2023-11-16 18:17:03", "2023-11-16 18:17:03,1"})
    CHECK(problem(azure + row) == "t:2: must have three values, as TIMESTAMP,ContextTokens,GeneratedTokens");
  for (const auto* time : {"", "2023-11-16", "2023-02-29 00:00:00", "2023-11-16 24:00:00", "2023-11-16 -1:00:00",
                           "2023-11-16 18:17:03x", "1823-11-16 18:17:03", "2023-1-16 18:17:03"})
    CHECK(problem(azure + time + ",1,1") == "t:2: TIMESTAMP must be like 2023-11-16 18:17:03.9799600");
  for (const auto* tokens : {",1", "-1,1", "1,", "1,x", "1,1,1", "1,99999999999999999999", " 1,1"})
    CHECK(problem(azure + "2023-11-16 18:17:03," + tokens).find("must be a whole number") != std::string::npos);
}

TEST_CASE("what is no trace is said to be none") {
  CHECK(problem("").find("holds no requests") != std::string::npos);
  CHECK(problem(azure).find("holds no requests") != std::string::npos);
  CHECK(problem("hello\n").starts_with("t:1: is neither a Mooncake trace"));
  CHECK(problem(std::string(5 << 20, '{')).starts_with("t:1: is longer than"));
  const auto absent = read_trace(QUADRANT_SOURCE_DIR "/no such trace", 1);
  REQUIRE(!absent);
  CHECK(absent.error().code == errc::not_found);
  CHECK(!read_trace(QUADRANT_SOURCE_DIR, 1));
}
