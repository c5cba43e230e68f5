#include "actors/http/connection.hpp"

#include <charconv>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/socket_base.hpp>

#include "actors/http/reply_parts.hpp"
#include "actors/http/request_id.hpp"
#include "config/clock.hpp"

namespace quadrant::actors::http {
namespace {

std::string_view reason(int status) {
  switch (status) {
  case 200: return "OK";
  case 400: return "Bad Request";
  case 401: return "Unauthorized";
  case 404: return "Not Found";
  case 405: return "Method Not Allowed";
  case 408: return "Request Timeout";
  case 413: return "Content Too Large";
  case 429: return "Too Many Requests";
  case 431: return "Request Header Fields Too Large";
  case 503: return "Service Unavailable";
  case 504: return "Gateway Timeout";
  default: return "Internal Server Error";
  }
}

std::string hex(std::size_t value) {
  char digits[16];
  return {digits, std::to_chars(digits, digits + sizeof digits, value, 16).ptr};
}

} // namespace

std::int64_t now_ms() { return steady_clock::monotonic_ns() / 1'000'000; }

connection::connection(boost::asio::ip::tcp::socket socket, const limits& allowed, owner& to)
    : socket_(std::move(socket)), allowed_(allowed), owner_(to), reader_(allowed) {}

void connection::start() {
  boost::system::error_code ignored;
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  socket_.set_option(boost::asio::socket_base::send_buffer_size(int(allowed_.kernel_send_bytes)), ignored);
  set_deadline(allowed_.idle_ms);
  read();
}

void connection::set_deadline(std::int64_t in_ms) { deadline_ms_ = in_ms == 0 ? 0 : now_ms() + in_ms; }

void connection::read() {
  socket_.async_read_some(boost::asio::buffer(arriving_),
                          [self = shared_from_this()](const boost::system::error_code& code, std::size_t size) {
                            if (self->state_ == state::closed) return;
                            if (code) return self->close();
                            self->received(size);
                          });
}

void connection::received(std::size_t size) {
  if (state_ != state::lingering) in_.append(arriving_.data(), size);
  if (state_ == state::answering && in_.size() > allowed_.ahead_bytes) return close();
  parse();
  if (state_ != state::closed) read();
}

/// Requests out of in_, until one is under way or the bytes run out. A reply may come before requested() returns: hence
/// parsing_.
void connection::parse() {
  if (parsing_) return;
  parsing_ = true;
  while (!in_.empty() && (state_ == state::idle || state_ == state::reading)) {
    if (state_ == state::idle) {
      state_ = state::reading;
      head_seen_ = false;
      request_id_.clear();
      endpoint_ = no_endpoint;
      set_deadline(allowed_.head_ms);
    }
    in_.erase(0, reader_.feed(in_));
    if (reader_.problem()) {
      state_ = state::answering;
      keep_alive_ = false;
      reply(*reader_.problem());
    } else if (reader_.done()) {
      auto request = reader_.take();
      state_ = state::answering;
      set_deadline(0);
      keep_alive_ = request.keep_alive;
      chunked_ = request.minor == 1;
      body_wanted_ = request.method != "HEAD";
      request_id_ = request_id_of(request.request_id);
      owner_.requested(shared_from_this(), std::move(request));
    } else {
      if (reader_.head_done() && !std::exchange(head_seen_, true)) set_deadline(allowed_.body_ms);
      if (reader_.wants_continue()) send("HTTP/1.1 100 Continue\r\n\r\n");
      break;
    }
  }
  parsing_ = false;
}

std::string connection::head(int status, std::string_view fields, bool keep_alive) {
  if (request_id_.empty()) request_id_ = request_id_of({}); // what is no request gets an answer too
  std::string to = chunked_ ? "HTTP/1.1 " : "HTTP/1.0 ";
  to.append(std::to_string(status)).append(" ").append(reason(status)).append("\r\n").append(fields);
  to.append("X-Request-Id: ").append(request_id_).append("\r\n");
  to.append("Connection: ").append(keep_alive ? "keep-alive" : "close").append("\r\n\r\n");
  return to;
}

void connection::reply(const http_reply& whole) {
  if (state_ != state::answering) return;
  owner_.responded(endpoint_, whole.status);
  const bool keep = keep_alive_ && !draining_;
  const auto fields = "Content-Type: " + whole.content_type +
                      "\r\nContent-Length: " + std::to_string(whole.body.size()) + "\r\n" + whole.fields;
  send(head(whole.status, fields, keep) + (body_wanted_ ? whole.body : std::string()));
  finish(keep);
}

void connection::reply(const api_error& error) {
  const bool later = error.status == 429 || error.status == 503;
  reply(http_reply{.status = error.status,
                   .body = error_body(error),
                   .fields = later                 ? "Retry-After: 1\r\n"
                             : error.status == 401 ? "WWW-Authenticate: Bearer\r\n"
                                                   : ""});
}

void connection::begin_events() {
  if (state_ != state::answering) return;
  owner_.responded(endpoint_, 200);
  const std::string fields =
      "Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
  if (!chunked_) keep_alive_ = false; // HTTP/1.0: the end of the stream is the end of the connection
  send(head(200, fields + (chunked_ ? "Transfer-Encoding: chunked\r\n" : ""), keep_alive_ && !draining_));
}

void connection::send_events(std::string_view events) {
  if (state_ != state::answering || events.empty()) return;
  if (!chunked_) return send(events);
  send(hex(events.size()).append("\r\n").append(events).append("\r\n"));
}

void connection::end_events(bool keep_alive) {
  if (state_ != state::answering) return;
  if (chunked_) send("0\r\n\r\n");
  finish(keep_alive && keep_alive_ && !draining_);
}

void connection::finish(bool keep_alive) {
  if (state_ != state::answering) return; // the last send was too much
  const auto maker = std::exchange(maker_, nullptr);
  if (keep_alive) {
    state_ = state::idle;
    set_deadline(allowed_.idle_ms);
    parse();
  } else {
    state_ = state::lingering;
    set_deadline(0);
    in_.clear();
    if (!writing_) flushed();
  }
}

void connection::send(std::string_view bytes) {
  const auto unsent = out_.size() + leaving_.size() - left_;
  if (unsent > 0 && unsent + bytes.size() > allowed_.unsent_bytes) return close();
  out_ += bytes;
  if (!writing_) write();
}

void connection::write() {
  if (left_ == leaving_.size()) {
    leaving_ = std::exchange(out_, {});
    left_ = 0;
  }
  writing_ = !leaving_.empty();
  if (!writing_) return flushed();
  moved_ms_ = now_ms();
  socket_.async_write_some(boost::asio::buffer(leaving_.data() + left_, leaving_.size() - left_),
                           [self = shared_from_this()](const boost::system::error_code& code, std::size_t size) {
                             if (self->state_ == state::closed) return;
                             if (code) return self->close();
                             self->left_ += size;
                             self->write();
                           });
}

void connection::flushed() {
  if (state_ != state::lingering) return;
  boost::system::error_code ignored;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  set_deadline(allowed_.linger_ms);
}

void connection::tick(std::int64_t now) {
  if (writing_ && now - moved_ms_ > allowed_.stall_ms) return close();
  if (deadline_ms_ == 0 || now < deadline_ms_) return;
  if (state_ != state::reading) return close();
  state_ = state::answering;
  keep_alive_ = false;
  reply(api_error{408, "the request did not come to its end in time", "invalid_request_error", {}, "request_timeout"});
}

void connection::drain() {
  draining_ = true;
  if (state_ != state::idle) return;
  state_ = state::answering; // an answer with nothing in it
  finish(false);
}

void connection::end_answer() {
  const auto maker = maker_; // it replies, and is let go
  if (maker) maker->shutting_down();
}

void connection::close() {
  if (state_ == state::closed) return;
  const auto self = shared_from_this();
  state_ = state::closed;
  boost::system::error_code ignored;
  socket_.close(ignored);
  if (const auto maker = std::exchange(maker_, nullptr)) maker->hung_up();
  owner_.closed(self);
}

} // namespace quadrant::actors::http
