#include <algorithm>

#include <nlohmann/json.hpp>

#include "actors/loadgen/picture.hpp"
#include "actors/loadgen/plot.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors::loadgen;

namespace {

/// Is it XML of elements, attributes and text, with one root? Enough of the grammar for what svg.hpp writes.
bool well_formed(std::string_view text) {
  std::vector<std::string> open;
  int roots = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c == '&') {
      const auto end = text.find(';', at);
      const auto name = text.substr(at + 1, end - at - 1);
      if (name != "amp" && name != "lt" && name != "gt" && name != "quot") return false;
      at = end + 1;
    } else if (c != '<') {
      if ((c < ' ' && c != '\n') || (open.empty() && c != '\n')) return false;
      ++at;
    } else {
      const auto end = text.find('>', at);
      if (end == text.npos) return false;
      auto tag = text.substr(at + 1, end - at - 1);
      at = end + 1;
      if (tag.starts_with('/')) {
        if (open.empty() || open.back() != tag.substr(1)) return false;
        open.pop_back();
        continue;
      }
      const bool closed = tag.ends_with('/');
      if (closed) tag.remove_suffix(1);
      const auto name = tag.substr(0, tag.find(' '));
      for (auto rest = tag.substr(name.size()); !rest.empty();) { // name="value", with no quote or < within
        const auto equals = rest.find("=\"");
        if (rest.front() != ' ' || equals == rest.npos) return false;
        const auto quote = rest.find('"', equals + 2);
        if (quote == rest.npos || rest.substr(equals, quote - equals).find('<') != rest.npos) return false;
        if (rest.substr(equals, quote - equals).find("nan") != rest.npos) return false;
        rest.remove_prefix(quote + 1);
      }
      if (open.empty() && ++roots > 1) return false;
      if (!closed) open.emplace_back(name);
    }
  }
  return open.empty() && roots == 1;
}

request_record any_record() {
  request_record r;
  r.result = *rc::gen::element(outcome::completed, outcome::completed, outcome::http_error, outcome::not_sent,
                               outcome::cancelled);
  const auto time = rc::gen::inRange<std::int64_t>(0, 100'000'000'000);
  r.sent_ns = *time;
  r.first_ns = r.sent_ns + *time / 10;
  r.ended_ns = r.first_ns;
  for (auto n = *rc::gen::inRange(0, 20); n > 0; --n) {
    r.gaps_ms.push_back(float(*rc::gen::inRange(0, 5000)) / 7);
    r.ended_ns += std::int64_t(r.gaps_ms.back() * 1e6f);
  }
  r.completion_tokens = *rc::gen::inRange(-1, 40);
  return r;
}

} // namespace

TEST_CASE("the checker itself") {
  CHECK(well_formed("<a b=\"c\"><d/>x &amp; y</a>\n"));
  for (const auto* wrong :
       {"<a>", "<a></b>", "<a/><a/>", "<a>&</a>", "<a>&x;</a>", "<a b=c/>", "<a b=\"<\"/>", "x<a/>", "<a>\x01</a>"})
    CHECK_MESSAGE(!well_formed(wrong), wrong);
}

TEST_CASE("draw_picture") {
  test::property(
      "whatever a run was and its server is called, the picture is one well-formed document, and no large one", [] {
        run_record run;
        for (auto n = *rc::gen::inRange(0, 30); n > 0; --n) run.requests.push_back(any_record());
        for (const auto& r : run.requests) run.duration_ns = std::max(run.duration_ns, r.ended_ns);
        std::vector<objective> objectives;
        if (*rc::gen::arbitrary<bool>()) objectives.push_back({metric::ttft, double(*rc::gen::inRange(1, 20'000))});
        const auto name = *rc::gen::arbitrary<std::string>();
        const auto picture = draw_picture(run, summarise(run, objectives, false), name, "<" + name + "&");
        RC_ASSERT(well_formed(picture));
        RC_ASSERT(!nlohmann::json(picture).dump().empty()); // it throws where a string is not UTF-8
        RC_ASSERT(picture.size() < 60'000 + 20 * name.size());
      });
}

TEST_CASE("ticks are round, reach from 0 to the end, and are as many as asked for at most") {
  test::property("ticks", [] {
    const auto high = double(*rc::gen::inRange(1, 1'000'000)) / 1000;
    const auto most = *rc::gen::inRange(2, 20);
    const auto list = ticks(high, most);
    RC_ASSERT(list.size() >= 2u && list.size() <= std::size_t(most) + 1);
    RC_ASSERT(list.front() == 0.0);
    RC_ASSERT(list.back() <= high * 1.000001 && list.back() + list[1] > high * 0.999999);
  });
}

TEST_CASE("text that is no UTF-8, or that XML does not know, is shown as such") {
  for (const std::string bad :
       {"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xef\xbf\xbf", "\x01"}) {
    svg s(10, 10);
    s.text({0, 0}, "a" + bad + "é<", {});
    const auto text = s.finish();
    CHECK(text.find("a\xef\xbf\xbd") != std::string::npos);
    CHECK(text.find("é&lt;") != std::string::npos);
    CHECK(well_formed(text));
    CHECK(!nlohmann::json(text).dump().empty());
  }
}
