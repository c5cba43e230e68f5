// actors/loadgen/request_record.hpp: what became of one request.
// Units   ns since the start of the run
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace quadrant::actors::loadgen {

enum class outcome : std::uint8_t {
  not_sent,     ///< the run ended before its turn
  completed,    ///< its answer came to an end
  rejected,     ///< 429
  http_error,   ///< another status that is not 200
  connect,      ///< there was no connection
  timeout,      ///< no whole answer in time
  stream_error, ///< the server ended the stream with an error
  broken,       ///< the stream was cut off, or was none
  cancelled,    ///< the run ended while it was under way
};

struct request_record {
  std::int64_t scheduled_ns = 0;
  std::int64_t sent_ns = 0;  ///< when it was given to the client, before a connection was made
  std::int64_t first_ns = 0; ///< of the first piece of text; 0: none came
  std::int64_t ended_ns = 0;
  std::int32_t input_asked = 0, output_asked = 0;          ///< tokens; 0: not known
  std::int32_t prompt_tokens = -1, completion_tokens = -1; ///< what the server's usage says; -1: nothing
  std::vector<float> gaps_ms;                              ///< between pieces of text
  outcome result = outcome::not_sent;
  std::int32_t status = 0; ///< of HTTP; 0: none came
  std::string message;     ///< of a failure

  [[nodiscard]] bool completed() const noexcept { return result == outcome::completed; }
  /// Was it sent, and did its answer not come to an end by itself?
  [[nodiscard]] bool failed() const noexcept {
    return result != outcome::completed && result != outcome::not_sent && result != outcome::cancelled;
  }
  /// "completed", "http 500", "timeout"
  [[nodiscard]] std::string kind() const;

  [[nodiscard]] std::int32_t chunks() const noexcept { return first_ns > 0 ? std::int32_t(gaps_ms.size()) + 1 : 0; }
  /// Of the answer: as the server counts, or else its pieces.
  [[nodiscard]] std::int32_t tokens() const noexcept { return completion_tokens >= 0 ? completion_tokens : chunks(); }
  [[nodiscard]] double ttft_ms() const noexcept { return double(first_ns - sent_ns) * 1e-6; }
  [[nodiscard]] double e2e_ms() const noexcept { return double(ended_ns - sent_ns) * 1e-6; }
  [[nodiscard]] bool has_tpot() const noexcept { return tokens() > 1; }
  [[nodiscard]] double tpot_ms() const noexcept { return (e2e_ms() - ttft_ms()) / double(tokens() - 1); }
};

} // namespace quadrant::actors::loadgen
