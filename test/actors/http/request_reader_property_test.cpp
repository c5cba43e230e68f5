#include <algorithm>

#include "actors/http/request_reader.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors::http;

namespace {

const limits usual;

std::string post(const std::string& body) {
  return "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: here\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}
std::string chunked(const std::string& body) {
  std::string text = "POST /a HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char c : body) text += std::string("1\r\n") + c + "\r\n";
  return text + "0\r\n\r\n";
}

/// Feeds as a socket would: pieces, with what was not read in front of the next.
struct fed {
  request_reader reader{usual};
  std::string waiting;
  void add(std::string_view bytes) {
    waiting += bytes;
    waiting.erase(0, reader.feed(waiting));
  }
};

} // namespace

TEST_CASE("request_reader") {
  test::property("reads the same request out of any pieces, and leaves the next one alone", [] {
    const auto body = *rc::gen::container<std::string>(rc::gen::inRange<char>(32, 127));
    const auto text = *rc::gen::arbitrary<bool>() ? post(body) : chunked(body);
    const auto both = text + "GET /next";
    fed f;
    std::size_t done = 0;
    while (done < both.size() && !f.reader.done()) {
      const auto size = std::size_t(*rc::gen::inRange(1, 40));
      f.add(std::string_view(both).substr(done, size));
      done = std::min(both.size(), done + size);
      RC_ASSERT(!f.reader.problem());
    }
    RC_ASSERT(f.reader.done());
    const auto request = f.reader.take();
    RC_ASSERT(request.method == "POST");
    RC_ASSERT(request.path == (text.starts_with("POST /a ") ? "/a" : "/v1/chat/completions"));
    RC_ASSERT(request.body == body);
    RC_ASSERT(request.keep_alive);
    RC_ASSERT(f.waiting + both.substr(done) == "GET /next");
    RC_ASSERT(!f.reader.done());
  });

  test::property(
      "broken bytes give a request or a 4xx, never a crash",
      [] {
        auto text = *rc::gen::element(post("{\"a\": 1}"), chunked("hello"),
                                      std::string("GET /health HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"));
        for (int edits = *rc::gen::inRange(0, 6); edits > 0; --edits) {
          const auto at = std::size_t(*rc::gen::inRange<int>(0, int(text.size()) + 1));
          if (*rc::gen::arbitrary<bool>())
            text.insert(at, 1, char(*rc::gen::inRange(0, 256)));
          else
            text.erase(at, std::size_t(*rc::gen::inRange(0, 9)));
        }
        fed f;
        while (!text.empty() && !f.reader.problem() && !f.reader.done()) {
          const auto size = std::min(text.size(), std::size_t(*rc::gen::inRange(1, 60)));
          f.add(std::string_view(text).substr(0, size));
          text.erase(0, size);
          f.reader.wants_continue();
        }
        if (f.reader.problem()) RC_ASSERT(f.reader.problem()->status / 100 == 4);
        if (f.reader.done()) f.reader.take();
      },
      500);
}

TEST_CASE("a head or a body over its limit is refused before it has come to its end") {
  fed long_head;
  long_head.add("GET / HTTP/1.1\r\nX: " + std::string(usual.head_bytes, 'x'));
  REQUIRE(long_head.reader.problem());
  CHECK(long_head.reader.problem()->status == 431);

  fed announced;
  announced.add("POST / HTTP/1.1\r\nContent-Length: " + std::to_string(usual.body_bytes + 1) + "\r\n\r\n");
  REQUIRE(announced.reader.problem());
  CHECK(announced.reader.problem()->status == 413);

  fed sneaked;
  sneaked.add("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 1100 && !sneaked.reader.problem(); ++i) sneaked.add("400\r\n" + std::string(1024, 'x') + "\r\n");
  REQUIRE(sneaked.reader.problem());
  CHECK(sneaked.reader.problem()->status == 413);
}

TEST_CASE("two lengths for one body are refused: another reader could see another request") {
  fed f;
  f.add("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
  REQUIRE(f.reader.problem());
  CHECK(f.reader.problem()->status == 400);
}

TEST_CASE("a Transfer-Encoding that does not say where the body ends is refused: the body would be the next request") {
  for (const auto* coding : {"gzip", "chunked, identity", "identity"}) {
    CAPTURE(coding);
    fed f;
    f.add(std::string("POST / HTTP/1.1\r\nTransfer-Encoding: ") + coding + "\r\n\r\nGET /sneaked HTTP/1.1\r\n\r\n");
    REQUIRE(f.reader.problem());
    CHECK(f.reader.problem()->status == 400);
  }
}

TEST_CASE("what stands between the chunks of a body is bounded too") {
  const std::string head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const auto* line : {"1;", "0\r\nX: "}) { // an extension; a trailer
    CAPTURE(line);
    fed f;
    f.add(head + line);
    for (int i = 0; i < 40 && !f.reader.problem(); ++i) f.add(std::string(1024, 'x'));
    REQUIRE(f.reader.problem());
    CHECK(f.reader.problem()->status == 400);
  }
}

TEST_CASE("a client that waits for 100 Continue is told once") {
  fed f;
  f.add("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n");
  CHECK(!f.reader.wants_continue());
  f.add("\r\n");
  CHECK(f.reader.wants_continue());
  CHECK(!f.reader.wants_continue());
  f.add("ab");
  REQUIRE(f.reader.done());
  CHECK(f.reader.take().body == "ab");
}
