#include "actors/loadgen/event_reader.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors::loadgen;

namespace {

using events = std::vector<std::string>;

events read(const std::vector<std::string>& pieces, bool ends = true) {
  event_reader reader;
  events list;
  const auto sink = [&](std::string_view data) { list.emplace_back(data); };
  for (const auto& piece : pieces) REQUIRE(reader.feed(piece, sink));
  if (ends) reader.end(sink);
  return list;
}

} // namespace

TEST_CASE("events are read, and what is no data is not") {
  CHECK(read({"data: a\n\ndata:b\n\n"}) == events{"a", "b"});
  CHECK(read({"data: a\r\n\r\ndata: b\r\rdata: c\n\n"}) == events{"a", "b", "c"});
  CHECK(read({"data: a\r\ndata: b\r\n\r\n"}) == events{"a\nb"}); // \r\n is one end
  CHECK(read({"\xef\xbb\xbf: a comment\nevent: x\nid: 1\nretry: 3\ndata: one\ndata:  two\n\n"}) == events{"one\n two"});
  CHECK(read({"\n\n: ping\n\ndatum: x\n\ndata\n\n"}) == events{""});
  CHECK(read({"data: [DONE]"}) == events{"[DONE]"}); // the end of the stream is the end of its last event
  CHECK(read({"data: [DONE]"}, false).empty());
}

TEST_CASE("a stream cut at any byte is the same events") {
  const std::string text = "\xef\xbb\xbf"
                           "data: {\"a\": 1}\r\n\r\n: ping\r\n\r\ndata: b\r\ndata: c\n\ndata: d\r\rdata: é\r\n\r\n";
  const events whole{"{\"a\": 1}", "b\nc", "d", "é"};
  for (std::size_t i = 0; i <= text.size(); ++i)
    for (std::size_t k = i; k <= text.size(); ++k)
      CHECK(read({text.substr(0, i), text.substr(i, k - i), text.substr(k)}) == whole);
}

TEST_CASE("an event without an end is given up, not kept") {
  event_reader reader;
  const auto sink = [](std::string_view) { FAIL("no event has come to its end"); };
  const std::string piece(1 << 20, 'x');
  bool goes_on = true;
  for (int i = 0; i < 20 && goes_on; ++i) goes_on = reader.feed("data: " + piece + (i % 2 == 0 ? "\n" : ""), sink);
  CHECK(!goes_on);
  CHECK(!reader.feed("\n\n", sink));
  reader.end(sink);
}

TEST_CASE("event_reader") {
  test::property("any bytes in any pieces are the same events as in one piece", [] {
    const auto text =
        *rc::gen::container<std::string>(rc::gen::element('d', 'a', 't', ':', ' ', '\r', '\n', '\xef', 'x'));
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size();) {
      const auto size = *rc::gen::inRange<std::size_t>(1, 6);
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    RC_ASSERT(read(pieces) == read({text}));
  });
}
