#include "actors/http/request_reader.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>

// Beast 1.81 asserts that the end of a chunked body never comes in pieces below five bytes; an empty body's does, and
// is read right.
#define BOOST_DISABLE_ASSERTS
#include <boost/assert.hpp>

#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include "config/check.hpp"

namespace quadrant::actors::http {

namespace beast_http = boost::beast::http;

struct request_reader::parser : beast_http::request_parser<beast_http::string_body> {
  explicit parser(const limits& allowed) {
    header_limit(std::uint32_t(allowed.head_bytes));
    body_limit(allowed.body_bytes);
    eager(true);
  }
};

namespace {

api_error explain(const boost::system::error_code& code, const limits& allowed) {
  if (code == beast_http::error::body_limit)
    return {413,
            "the body is over the limit of " + std::to_string(allowed.body_bytes) + " bytes",
            "invalid_request_error",
            {},
            "request_too_large"};
  if (code == beast_http::error::header_limit)
    return {431,
            "the head of the request is over the limit of " + std::to_string(allowed.head_bytes) + " bytes",
            "invalid_request_error",
            {},
            "request_too_large"};
  return bad_request({}, "not an HTTP/1.1 request: " + code.message());
}

} // namespace

request_reader::request_reader(const limits& allowed) : allowed_(allowed), parser_(std::make_unique<parser>(allowed)) {}
request_reader::~request_reader() = default;

std::size_t request_reader::feed(std::string_view bytes) {
  std::size_t read = 0;
  while (!problem_ && !parser_->is_done() && read < bytes.size()) {
    boost::system::error_code code;
    const auto n = parser_->put(boost::asio::const_buffer(bytes.data() + read, bytes.size() - read), code);
    read += n;
    if (code == beast_http::error::need_more) break;
    if (code)
      problem_ = explain(code, allowed_);
    else if (parser_->is_header_done() && !parser_->chunked() && has_transfer_encoding())
      problem_ = bad_request({}, "the one Transfer-Encoding that is understood is chunked"); // where does the body end?
    else if (n == 0)
      break;
  }
  // What is left is a line that has not come to its end. Beast bounds those of the head, but not those between chunks.
  if (!problem_ && !parser_->is_done() && bytes.size() - read > allowed_.head_bytes)
    problem_ = bad_request({}, "a line between the chunks of the body is over the limit of " +
                                   std::to_string(allowed_.head_bytes) + " bytes");
  return read;
}

bool request_reader::has_transfer_encoding() const {
  return parser_->get().find(beast_http::field::transfer_encoding) != parser_->get().end();
}

bool request_reader::head_done() const { return parser_->is_header_done(); }
bool request_reader::done() const { return !problem_ && parser_->is_done(); }

bool request_reader::wants_continue() {
  if (continued_ || problem_ || !parser_->is_header_done() || parser_->is_done()) return false;
  if (!boost::beast::iequals(parser_->get()[beast_http::field::expect], "100-continue")) return false;
  return continued_ = true;
}

http_request request_reader::take() {
  QCHECK(done());
  auto message = parser_->release();
  http_request to;
  to.method = std::string(message.method_string());
  to.path = std::string(message.target().substr(0, message.target().find('?')));
  to.request_id = std::string(message["X-Request-Id"]);
  to.authorization = std::string(message[beast_http::field::authorization]);
  to.minor = message.version() == 10 ? 0 : 1;
  to.keep_alive = message.keep_alive();
  to.body = std::move(message.body());
  parser_ = std::make_unique<parser>(allowed_);
  continued_ = false;
  return to;
}

} // namespace quadrant::actors::http
