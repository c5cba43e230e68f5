#include <algorithm>

#include "actors/loadgen/response_reader.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors::loadgen;

namespace {

/// Feeds as a socket would: pieces, with what was not read in front of the next.
struct fed {
  response_reader reader;
  std::string unread, body;
  void add(std::string_view bytes) {
    unread += bytes;
    unread.erase(0, reader.feed(unread));
    if (reader.head_done()) body += reader.take_body();
  }
};

enum class framing : std::uint8_t { length, chunks, end };

std::string response(framing how, const std::string& body) {
  std::string text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
  if (how == framing::length) return text + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  if (how == framing::end) return text + "Connection: close\r\n\r\n" + body;
  text += "Transfer-Encoding: chunked\r\n\r\n";
  for (const char c : body) text += std::string("1;x=y\r\n") + c + "\r\n";
  return text + "0\r\n\r\n";
}

} // namespace

TEST_CASE("response_reader") {
  test::property("reads the same response out of any pieces, however it is framed", [] {
    const auto body = *rc::gen::arbitrary<std::string>();
    const auto how = *rc::gen::element(framing::length, framing::chunks, framing::end);
    const auto text =
        (*rc::gen::arbitrary<bool>() ? "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" : "") + response(how, body);
    fed f;
    for (std::size_t at = 0; at < text.size();) {
      const auto size = *rc::gen::inRange<std::size_t>(1, 40);
      f.add(std::string_view(text).substr(at, size));
      at += size;
    }
    if (how == framing::end) f.reader.end_of_bytes();
    RC_ASSERT(!f.reader.problem());
    RC_ASSERT(f.reader.done());
    RC_ASSERT(f.reader.status() == 200);
    RC_ASSERT(f.reader.field("content-type") == "text/event-stream");
    RC_ASSERT(f.reader.keep_alive() == (how != framing::end));
    RC_ASSERT(f.body == body);
    RC_ASSERT(f.unread.empty());
  });

  test::property("a response that is cut off is a problem", [] {
    const auto text = response(*rc::gen::element(framing::length, framing::chunks), "some text");
    fed f;
    f.add(std::string_view(text).substr(0, *rc::gen::inRange<std::size_t>(0, text.size())));
    f.reader.end_of_bytes();
    RC_ASSERT(!f.reader.done());
    RC_ASSERT(f.reader.problem().has_value());
  });

  test::property(
      "broken bytes give a response or a problem, never a crash",
      [] {
        auto text = response(*rc::gen::element(framing::length, framing::chunks, framing::end), "some text");
        for (auto n = *rc::gen::inRange(1, 5); n > 0; --n)
          text[*rc::gen::inRange<std::size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
        fed f;
        for (const char c : text) f.add({&c, 1});
        f.reader.end_of_bytes();
        RC_ASSERT(f.reader.done() || f.reader.problem());
      },
      400);
}

TEST_CASE("nothing that a server claims is reserved, and no line is kept without end") {
  fed f;
  f.add("HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\nabc");
  CHECK(f.body == "abc");
  CHECK(!f.reader.problem());

  fed head, chunk;
  for (int i = 0; i < 200 && !head.reader.problem(); ++i) head.add(std::string(1024, 'a'));
  CHECK(head.reader.problem());
  chunk.add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 200 && !chunk.reader.problem(); ++i) chunk.add(std::string(1024, '1'));
  CHECK(chunk.reader.problem());
}
