#include <fstream>
#include <sstream>

#include "config/topology.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using quadrant::test::property;

namespace {

/// Small enough that its workers can be dealt out to processes.
topology random_topology() {
  topology t;
  t.precision = *rc::gen::elementOf(std::vector<std::string>{"f32", "bf16", "w8a8", "w4a8"});
  for (const auto& s : topology_settings()) {
    const bool counts_workers = s.unit == "stages" || s.unit == "ranks" || s.unit == "groups";
    t.*s.member = *rc::gen::inRange(s.low, (counts_workers ? std::min<std::int64_t>(s.high, 4) : s.high) + 1);
  }
  auto names = *rc::gen::unique<std::vector<std::string>>(
      rc::gen::container<std::string>(rc::gen::elementOf(std::string("abcXYZ019-_."))));
  for (auto& name : names) name = ("a" + name).substr(0, 100);
  if (names.empty()) return t;
  for (const auto& name : names) t.processes.push_back({name, {}});
  for (const auto& worker : t.worker_names())
    t.processes[*rc::gen::inRange<std::size_t>(0, names.size())].runs.push_back(worker);
  return t;
}

} // namespace

TEST_CASE("parse_topology reads back what to_toml writes") {
  property(
      "for any topology",
      [] {
        const auto t = random_topology();
        const auto text = to_toml(t);
        const auto back = parse_topology(text, "x");
        if (!back) RC_FAIL(back.error().message + "\n" + text);
        RC_ASSERT(back->precision == t.precision);
        for (const auto& s : topology_settings()) RC_ASSERT(((*back).*s.member == t.*s.member));
        RC_ASSERT(back->processes.size() == t.processes.size());
        for (std::size_t i = 0; i < t.processes.size(); ++i) {
          RC_ASSERT(back->processes[i].name == t.processes[i].name);
          RC_ASSERT(back->processes[i].runs == t.processes[i].runs);
        }
      },
      200);
}

TEST_CASE("a topology file with changed bytes is a valid topology or one line that names the file and a line") {
  std::ifstream in(std::string(QUADRANT_SOURCE_DIR) + "/config/profiles/pp2-tp2-ep2-processes.toml");
  std::ostringstream profile;
  profile << in.rdbuf();
  property(
      "under any bytes",
      [text = profile.str()] {
        auto changed = text;
        const auto hits = *rc::gen::inRange(1, 8);
        for (int i = 0; i < hits; ++i) {
          const auto at = *rc::gen::inRange<std::size_t>(0, changed.size());
          const auto value = char(*rc::gen::arbitrary<unsigned char>());
          switch (*rc::gen::inRange(0, 4)) {
          case 0: changed.erase(at, *rc::gen::inRange<std::size_t>(1, 40)); break;
          case 1: changed.insert(at, 1, value); break;
          case 2: changed.insert(at, changed.substr(*rc::gen::inRange<std::size_t>(0, changed.size()), 30)); break;
          default: changed[at] = value; break;
          }
          if (changed.empty()) changed = " ";
        }
        const auto t = parse_topology(changed, "x.toml");
        if (t) {
          for (const auto& s : topology_settings()) {
            RC_ASSERT(((*t).*s.member >= s.low));
            RC_ASSERT(((*t).*s.member <= s.high));
          }
          RC_ASSERT(parse_topology(to_toml(*t), "again").ok());
        } else {
          RC_ASSERT((t.error().code == errc::invalid_argument));
          RC_ASSERT(t.error().message.rfind("x.toml:", 0) == 0u);
          RC_ASSERT(t.error().message.find('\n') == std::string::npos);
        }
      },
      500);
}
