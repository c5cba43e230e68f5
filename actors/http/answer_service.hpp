// actors/http/answer_service.hpp: what a loaded model answers: a body becomes a request, its tokens an answer.
//
//   I/O thread      body ──┐                       ┌─▶ exchange ─▶ events or reply
//   aside thread           └▶ parse, template, ids ┘
//
// A client that hangs up while its request waits aside is read by nobody.
// Threads the I/O thread
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "actors/chat_text.hpp"
#include "actors/engine.hpp"
#include "actors/http/connection.hpp"
#include "actors/http/exchange.hpp"
#include "actors/http/metrics.hpp"

namespace boost::asio {
class io_context;
class thread_pool;
} // namespace boost::asio

namespace quadrant::actors::http {

class answer_service {
public:
  /// Outlives every task of `aside` and every connection.
  answer_service(exchange::around with, boost::asio::thread_pool& aside, const limits& allowed)
      : with_(std::move(with)), aside_(aside), allowed_(allowed) {}

  void chat(const std::shared_ptr<connection>& to, std::string body) { generate(to, std::move(body), admit_chat); }
  void complete(const std::shared_ptr<connection>& to, std::string body) {
    generate(to, std::move(body), admit_completion);
  }
  void tokenize(const std::shared_ptr<connection>& to, std::string body);
  void detokenize(const std::shared_ptr<connection>& to, std::string body);

private:
  using admit = std::variant<admission, api_error> (*)(const served_model&, std::string_view);
  using convert = std::variant<std::string, api_error> (*)(const served_model&, std::string_view);
  void generate(const std::shared_ptr<connection>& to, std::string body, admit how);
  void answer_text(const std::shared_ptr<connection>& to, std::string body, convert how);
  bool room_for(const std::shared_ptr<connection>& to, std::size_t bytes);

  exchange::around with_;
  boost::asio::thread_pool& aside_;
  const limits& allowed_;
  std::atomic<std::size_t> waiting_bytes_{0}; ///< of the bodies that the aside threads have not read
};

} // namespace quadrant::actors::http
