// actors/loadgen/answer_meter.hpp: reads one streamed answer as it comes, and notes in its record when what came.
// Threads one owner
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "actors/loadgen/answer_event.hpp"
#include "actors/loadgen/event_reader.hpp"
#include "actors/loadgen/exchange.hpp"
#include "actors/loadgen/request_record.hpp"
#include "actors/loadgen/response_reader.hpp"

namespace quadrant::actors::loadgen {

class answer_meter {
public:
  /// `to` outlives this.
  explicit answer_meter(request_record& to) : to_(to) {}

  /// A piece of the body, that came `at_ns` after the start of the run.
  void take(const response_reader& head, std::string_view piece, std::int64_t at_ns);
  /// Once, when nothing more comes: settles the outcome.
  void finish(const exchange& how, std::int64_t at_ns);

private:
  void event(std::string_view data, std::int64_t at_ns);
  void settle(outcome result, std::string message = {});
  void settle_answer(std::int64_t at_ns);

  request_record& to_;
  event_reader events_;
  std::string body_, content_type_, retry_after_, error_; ///< body_: of an answer that is no stream
  std::int64_t last_ns_ = 0;
  bool is_stream_ = false, done_ = false, finished_ = false, broken_ = false;
};

} // namespace quadrant::actors::loadgen
