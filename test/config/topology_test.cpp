#include <filesystem>
#include <fstream>
#include <sstream>

#include <doctest/doctest.h>

#include "config/topology.hpp"

using namespace quadrant;

namespace {

const std::filesystem::path root = QUADRANT_SOURCE_DIR;

std::string message_of(std::string_view text) {
  const auto t = parse_topology(text, "file.toml");
  if (t) return "(it parsed)";
  CHECK(t.error().code == errc::invalid_argument);
  return t.error().message;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_CASE("every profile parses, and reads back from its own text") {
  int profiles = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root / "config/profiles")) {
    INFO(entry.path().string());
    const auto t = read_topology(entry.path());
    REQUIRE_MESSAGE(t.ok(), (t ? "" : t.error().message));
    const auto text = to_toml(*t);
    const auto again = parse_topology(text, "again");
    REQUIRE(again.ok());
    CHECK(to_toml(*again) == text);
    ++profiles;
  }
  CHECK(profiles >= 3);
}

TEST_CASE("an empty file is the default, and the default keeps its own rules") {
  const auto t = parse_topology("", "empty");
  REQUIRE(t.ok());
  CHECK(to_toml(*t) == to_toml(topology{}));
  for (const auto& s : topology_settings()) {
    INFO(s.section << "." << s.key);
    CHECK(s.low <= topology{}.*s.member);
    CHECK(topology{}.*s.member <= s.high);
  }
  CHECK(t->worker_names() == std::vector<std::string>{"prefill.0.0", "decode.0"});
}

TEST_CASE("both ends of a setting's range are allowed, and nothing beyond") {
  for (const auto& s : topology_settings()) {
    const auto with = [&](std::int64_t value) {
      std::ostringstream text;
      text << '[' << s.section << "]\n" << s.key << " = " << value << '\n';
      return text.str();
    };
    INFO(s.section << "." << s.key);
    for (const auto value : {s.low, s.high}) {
      const auto t = parse_topology(with(value), "x");
      REQUIRE(t.ok());
      CHECK((*t).*s.member == value);
    }
    for (const auto value : {s.low - 1, s.high + 1}) {
      const auto text = message_of(with(value));
      CHECK(contains(text, "file.toml:2: " + std::string(s.section) + "." + std::string(s.key)));
      CHECK(contains(text, "from " + std::to_string(s.low) + " to " + std::to_string(s.high) + ", not " +
                               std::to_string(value)));
    }
  }
}

TEST_CASE("a bad input names the line, what is wrong and what is allowed") {
  struct bad {
    std::string_view text, where, what, allowed;
  };
  const bad inputs[] = {
      {"[prefill]\n\npp = 2.5\n", "file.toml:3:", "prefill.pp", "whole number of stages from 1 to 64"},
      {"[prefill]\npp = \"2\"\n", "file.toml:2:", "prefill.pp", "whole number"},
      {"[decode]\ntp = 1\nqq = 2\n", "file.toml:3:", "decode.qq", "launch_ahead"},
      {"\n[router]\nx = 1\n", "file.toml:2:", "router", "[prefill], [decode], [experts], [cluster]"},
      {"prefill = 3\n", "file.toml:1:", "prefill", "[prefill]"},
      {"precision = \"int3\"\n", "file.toml:1:", "int3", "\"f32\", \"bf16\", \"w8a8\" or \"w4a8\""},
      {"precision = 8\n", "file.toml:1:", "precision", "\"w4a8\""},
      {"[prefill\n", "file.toml:1:", "", ""},
      {"[prefill]\npp = 1\npp = 2\n", "file.toml:3:", "", ""},
      {"process = 3\n", "file.toml:1:", "process", "[[process]]"},
      {"[process]\nname = \"a\"\n", "file.toml:1:", "process", "[[process]]"},
      {"process = [1]\n", "file.toml:1:", "process", "[[process]]"},
      {"[[process]]\nruns = []\n", "file.toml:1:", "name", "name = \"text\""},
      {"[[process]]\nname = 3\n", "file.toml:2:", "process.name", "name = \"text\""},
      {"[[process]]\nname = \"a b\"\n", "file.toml:1:", "called a b", "letters, digits"},
      {"[[process]]\nname = \"../x\"\n", "file.toml:1:", "called ../x", "letters, digits"},
      {"[[process]]\nname = \"-v\"\n", "file.toml:1:", "called -v", "letters, digits"},
      {"[[process]]\nname = \"serve\"\n", "file.toml:1:", "called serve", "main and serve are taken"},
      {"[[process]]\nname = \"main\"\n", "file.toml:1:", "called main", "main and serve are taken"},
      {"[[process]]\nname = \"a\"\nport = 3\n", "file.toml:3:", "process.port", "runs = "},
      {"[[process]]\nname = \"a\"\nruns = [\n  \"decode.0\",\n  7]\n", "file.toml:5:", "runs", "worker names"},
      {"[[process]]\nname = \"a\"\nruns = [\"decode.0\", \"prefill.0.0\"]\n[[process]]\nname = \"a\"\nruns = []\n",
       "file.toml:4:", "named a", ""},
      {"[[process]]\nname = \"a\"\nruns = [\"decode.0\", \"prefill.0.0\", \"decode.1\"]\n", "file.toml:1:", "decode.1",
       "it has prefill.0.0, decode.0"},
      {"[[process]]\nname = \"a\"\nruns = [\"decode.0\", \"prefill.0.0\"]\n[[process]]\nname = \"b\"\nruns = "
       "[\"decode.0\"]\n",
       "file.toml:4:", "decode.0 runs in b and in a", "one process"},
      {"[[process]]\nname = \"a\"\nruns = [\"decode.0\"]\n", "file.toml:1:", "no process runs prefill.0.0", "add it"},
  };
  for (const auto& b : inputs) {
    INFO(b.text);
    const auto message = message_of(b.text);
    INFO(message);
    CHECK(message.rfind(b.where, 0) == 0);
    CHECK(contains(message, b.what));
    CHECK(contains(message, b.allowed));
    CHECK_FALSE(contains(message, "\n")); // one line
  }
}

TEST_CASE("workers are named after what they do and where they stand") {
  const auto t =
      parse_topology("[prefill]\npp = 2\ntp = 2\n[decode]\ntp = 2\n[experts]\nprefill_ep = 1\ndecode_ep = 2\n", "x");
  REQUIRE(t.ok());
  CHECK(t->worker_names() == std::vector<std::string>{"prefill.0.0", "prefill.0.1", "prefill.1.0", "prefill.1.1",
                                                      "decode.0", "decode.1", "experts.prefill.0", "experts.decode.0",
                                                      "experts.decode.1"});
}

TEST_CASE("a file that is not there, or is a folder, is not found") {
  for (const auto& path : {root / "config/profiles/none.toml", root / "config"}) {
    const auto t = read_topology(path);
    REQUIRE_FALSE(t.ok());
    CHECK(t.error().code == errc::not_found);
    CHECK(contains(t.error().message, path.string()));
  }
}

TEST_CASE("config/README.md lists every setting as the reader knows it") {
  std::ifstream in(root / "config/README.md");
  std::ostringstream readme;
  readme << in.rdbuf();
  std::size_t rows = 0;
  for (const auto& s : topology_settings()) {
    std::ostringstream row;
    row << "| " << s.section << " | " << s.key << " | " << topology{}.*s.member << " | " << s.unit << " | " << s.low
        << " to " << s.high << " | " << s.meaning << " |\n";
    INFO(row.str());
    CHECK(contains(readme.str(), row.str()));
    ++rows;
  }
  CHECK(rows > 10);
}

TEST_CASE("names with line breaks in them stay on the one line of a message") {
  CHECK(contains(message_of("\"a\\nb\" = 1"), "file.toml:1: unknown setting a?b"));
  CHECK(contains(message_of("[prefill]\n\"p\\np\" = 1"), "file.toml:2: unknown setting prefill.p?p"));
  CHECK_FALSE(contains(message_of("precision = \"w\\n4\""), "\n"));
}
