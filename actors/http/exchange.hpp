// actors/http/exchange.hpp: one request and its answer: from a body that was admitted to the last byte, or to its client's
// hanging up.
//
//   admitted ─▶ submit, once a prompt          token, finished, failed ─▶ events or reply
//                       sink ── posted ──────────▲
//
// The sinks may outlive connection and server: they hold the I/O context, and the rest weakly.
// Log     one line a request, with its id; no line holds a client's text
// Threads the I/O thread
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "actors/engine.hpp"
#include "actors/http/admission.hpp"
#include "actors/http/answer.hpp"
#include "actors/http/connection.hpp"
#include "actors/http/metrics.hpp"

namespace boost::asio {
class io_context;
} // namespace boost::asio

namespace quadrant::actors::http {

class exchange final : public answer_maker, public std::enable_shared_from_this<exchange> {
public:
  /// Outlives its exchanges.
  struct around {
    std::shared_ptr<boost::asio::io_context> io;
    engine& cluster;
    metrics& counts;
    served_model model;
    std::set<std::string_view> logged{}; ///< fields that are ignored, each said once
  };
  exchange(around& with, const std::shared_ptr<connection>& to);

  void admitted(std::variant<admission, api_error> decided);
  /// Nobody waits for the answer any more. Any thread.
  [[nodiscard]] bool given_up() const noexcept { return given_up_.load(std::memory_order_relaxed); }
  void hung_up() override { give_up(status_hung_up); }
  void shutting_down() override;

private:
  class posting_sink;
  struct owned_token;
  static constexpr int status_hung_up = 499; ///< in the log: no status was sent

  void prompt_read(std::int32_t prompt, std::int32_t cached_tokens);
  void token(std::int32_t prompt, const owned_token& t);
  void finished(std::int32_t prompt, std::int32_t sample, finish why);
  void failed(const failure& why);

  void note_begun();
  void note_token(std::int32_t prompt, std::int32_t sample);
  void give_up(int status);
  void refuse(const api_error& error);
  void cancel_all();
  void send(const std::string& bytes);
  void end(outcome how, int status);
  void log_line(std::string_view finish, int status) const;

  around& with_;
  std::weak_ptr<connection> to_;
  const std::string name_, endpoint_; ///< the request's id, and its path
  std::optional<answer> answer_;      ///< once submitted
  std::vector<std::uint64_t> ids_;    ///< of each prompt
  std::vector<std::int32_t> sizes_;   ///< tokens of each prompt
  std::vector<std::int64_t> last_ns_; ///< of each choice, its last token
  std::int64_t began_ns_, first_ns_ = 0, latest_ns_ = 0;
  bool begun_ = false; ///< the cluster has begun to read a prompt
  bool over_ = false;
  std::atomic<bool> given_up_{false};
};

} // namespace quadrant::actors::http
