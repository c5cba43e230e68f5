// actors/http/connection.hpp: one client: bytes in, requests out; answers in, bytes out. Knows HTTP/1.1, but no model.
//
//              ┌───────────────────── keep-alive ◄────────────────────┐
//     idle ─▶ reading ─▶ answering: whole, or a stream of events ─────┴─▶ lingering ─▶ closed
//
// A read is always pending, so a hang-up is noticed in every state.
// A client that closes only its sending half counts as gone.
// Lingering: what a client still sends is read and dropped, or its kernel would throw our last words away.
// Limits  of each state a time; of requests sent ahead, and of bytes a slow reader leaves, a size; then it is dropped
// Threads the I/O thread. No timer of its own: the server calls tick().
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>

#include "actors/http/request_reader.hpp"

namespace quadrant::actors::http {

struct http_reply {
  int status = 200;
  std::string content_type = "application/json", body;
  std::string fields = {}; ///< further ones, each with its line end
};

/// Who is making the answer; of no use to anybody once it has been told.
class answer_maker {
public:
  virtual ~answer_maker() = default;
  virtual void hung_up() = 0;       ///< the client is gone
  virtual void shutting_down() = 0; ///< end the answer now, with an error
};

class connection : public std::enable_shared_from_this<connection> {
public:
  /// Outlives its connections.
  class owner {
  public:
    virtual ~owner() = default;
    virtual void requested(const std::shared_ptr<connection>& from,
                           http_request what) = 0; ///< reply, or begin, now or later
    /// endpoint: what at() said of the request, or "none" for what is no request
    virtual void responded(std::string_view endpoint, int status) = 0;
    virtual void closed(const std::shared_ptr<connection>& which) = 0; ///< once, and last
  };

  connection(boost::asio::ip::tcp::socket socket, const limits& allowed, owner& to);
  void start();

  /// The request under way: what it is called, in every response's head too; and where it goes.
  [[nodiscard]] const std::string& request_id() const noexcept { return request_id_; }
  [[nodiscard]] std::string_view endpoint() const noexcept { return endpoint_; }
  /// endpoint: a literal
  void at(std::string_view endpoint) noexcept { endpoint_ = endpoint; }

  /// Holds `maker` until the answer has ended or the client is gone.
  void answered_by(std::shared_ptr<answer_maker> maker) { maker_ = std::move(maker); }
  void reply(const http_reply& whole);
  void reply(const api_error& error);
  void begin_events();
  void send_events(std::string_view events);
  void end_events(bool keep_alive);

  void tick(std::int64_t now_ms);
  void drain();      ///< no further request: closes now, or after the answer under way
  void end_answer(); ///< tells the maker to end, if there is one
  [[nodiscard]] bool answering() const noexcept { return state_ == state::answering; }
  void close();

private:
  static constexpr std::string_view no_endpoint = "none";
  enum class state : std::uint8_t { idle, reading, answering, lingering, closed };

  void read();
  void received(std::size_t size);
  void parse();
  void send(std::string_view bytes);
  void write();
  void flushed();
  void finish(bool keep_alive);
  void set_deadline(std::int64_t in_ms);
  [[nodiscard]] std::string head(int status, std::string_view fields, bool keep_alive);

  boost::asio::ip::tcp::socket socket_;
  const limits& allowed_;
  owner& owner_;
  request_reader reader_;
  std::shared_ptr<answer_maker> maker_;

  state state_ = state::idle;
  bool parsing_ = false, writing_ = false, draining_ = false, head_seen_ = false;
  bool keep_alive_ = true, chunked_ = true, body_wanted_ = true; ///< of the request under way
  std::string request_id_;
  std::string_view endpoint_ = no_endpoint;
  std::int64_t deadline_ms_ = 0, moved_ms_ = 0; ///< of this state, 0: none; when the client last read something
  std::array<char, 16 << 10> arriving_;
  std::string in_, out_, leaving_; ///< unparsed; not yet given to the kernel; being given to it
  std::size_t left_ = 0;           ///< bytes of leaving_ that have been
};

std::int64_t now_ms();

} // namespace quadrant::actors::http
