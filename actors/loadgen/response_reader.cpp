#include "actors/loadgen/response_reader.hpp"

#include <utility>

#include <boost/asio/buffer.hpp>

// Beast 1.81 asserts that the end of a chunked body never comes in pieces below five bytes; an empty body's does, and
// is read right.
#define BOOST_DISABLE_ASSERTS
#include <boost/assert.hpp>

#include <boost/beast/http/error.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>

namespace quadrant::actors::loadgen {
namespace {

namespace http = boost::beast::http;

constexpr std::size_t head_bytes = 64 << 10;

/// A body that is taken in pieces. Beast's string_body would reserve whatever a Content-Length claims.
struct pieces_body {
  using value_type = std::string;
  class reader {
  public:
    template <bool IsRequest, class Fields>
    reader(http::header<IsRequest, Fields>&, std::string& to) : to_(to) {}
    void init(const boost::optional<std::uint64_t>&, boost::system::error_code& code) { code = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, boost::system::error_code& code) {
      code = {};
      const auto before = to_.size();
      for (auto b = boost::asio::buffer_sequence_begin(buffers); b != boost::asio::buffer_sequence_end(buffers); ++b)
        to_.append(static_cast<const char*>(b->data()), b->size());
      return to_.size() - before;
    }
    void finish(boost::system::error_code& code) { code = {}; }

  private:
    std::string& to_;
  };
};

} // namespace

struct response_reader::parser : http::response_parser<pieces_body> {
  parser() {
    header_limit(std::uint32_t(head_bytes));
    body_limit(boost::none);
    eager(true);
  }
};

response_reader::response_reader() : parser_(std::make_unique<parser>()) {}
response_reader::~response_reader() = default;

std::size_t response_reader::feed(std::string_view bytes) {
  std::size_t read = 0;
  while (!problem_ && !done() && read < bytes.size()) {
    boost::system::error_code code;
    const auto n = parser_->put(boost::asio::const_buffer(bytes.data() + read, bytes.size() - read), code);
    read += n;
    if (code == http::error::need_more) break;
    if (code)
      problem_ = "no HTTP/1.1 response: " + code.message();
    else if (parser_->is_done() && status() / 100 == 1)
      parser_ = std::make_unique<parser>(); // an interim response, as 100 Continue: the real one follows
    else if (n == 0)
      break;
  }
  if (!problem_ && !done() && bytes.size() - read > head_bytes) // Beast bounds the lines of a head, but not of chunks
    problem_ = "no HTTP/1.1 response: a line between the chunks of the body is too long";
  return read;
}

void response_reader::end_of_bytes() {
  if (problem_ || done()) return;
  boost::system::error_code code;
  if (parser_->got_some()) parser_->put_eof(code);
  if (code || !done())
    problem_ = head_done() ? "the connection was closed in the middle of the answer"
                           : "the connection was closed before the answer";
}

bool response_reader::head_done() const { return parser_->is_header_done(); }
bool response_reader::done() const { return !problem_ && parser_->is_done(); }
int response_reader::status() const { return int(parser_->get().result_int()); }
bool response_reader::keep_alive() const { return parser_->keep_alive(); }

std::string_view response_reader::field(std::string_view name) const {
  const auto found = parser_->get().find(boost::beast::string_view(name.data(), name.size()));
  if (found == parser_->get().end()) return {};
  return {found->value().data(), found->value().size()};
}

std::string response_reader::take_body() { return std::exchange(parser_->get().body(), {}); }

} // namespace quadrant::actors::loadgen
