#include "actors/loadgen/answer_meter.hpp"

#include <utility>

namespace quadrant::actors::loadgen {

constexpr std::size_t kept_body_bytes = 64 << 10; // of an error: enough for its message
constexpr std::size_t kept_field_bytes = 80;

std::string request_record::kind() const {
  switch (result) {
  case outcome::not_sent: return "not sent";
  case outcome::completed: return "completed";
  case outcome::rejected: return "rejected (http 429)";
  case outcome::http_error: return "http " + std::to_string(status);
  case outcome::connect: return "connect";
  case outcome::timeout: return "timeout";
  case outcome::stream_error: return "error in the stream";
  case outcome::broken: return "broken stream";
  case outcome::cancelled: return "cancelled";
  }
  return "";
}

void answer_meter::take(const response_reader& head, std::string_view piece, std::int64_t at_ns) {
  if (to_.status == 0) {
    to_.status = head.status();
    content_type_ = head.field("Content-Type").substr(0, kept_field_bytes);
    retry_after_ = head.field("Retry-After").substr(0, kept_field_bytes);
    is_stream_ = to_.status == 200 && !content_type_.starts_with("application/json");
  }
  if (!is_stream_) {
    body_ += piece.substr(0, kept_body_bytes - body_.size());
  } else if (!done_ && !events_.feed(piece, [&](std::string_view data) { event(data, at_ns); })) {
    error_ = "an event is longer than " + std::to_string(event_reader::max_event_bytes) + " bytes";
    broken_ = true;
  }
}

void answer_meter::event(std::string_view data, std::int64_t at_ns) {
  if (done_ || !error_.empty()) return;
  const auto e = parse_event(data);
  if (e.error) {
    error_ = e.error->empty() ? "an error without words" : *e.error;
    broken_ = e.broken;
    return;
  }
  if (e.usage) {
    to_.prompt_tokens = e.usage->prompt_tokens;
    to_.completion_tokens = e.usage->completion_tokens;
  }
  if (to_.first_ns == 0 && (e.has_text || e.finished)) // an answer without any text has its first token at its end
    to_.first_ns = last_ns_ = at_ns;
  else if (e.has_text)
    to_.gaps_ms.push_back(float(double(at_ns - std::exchange(last_ns_, at_ns)) * 1e-6));
  finished_ |= e.finished;
  done_ |= e.done;
  if (done_) to_.ended_ns = at_ns;
}

void answer_meter::settle(outcome result, std::string message) {
  to_.result = result;
  to_.message = std::move(message);
}

void answer_meter::finish(const exchange& how, std::int64_t at_ns) {
  if (!done_) to_.ended_ns = at_ns;
  if (how.end == exchange_end::whole || done_ || !error_.empty()) return settle_answer(at_ns);
  settle(how.end == exchange_end::connect     ? outcome::connect
         : how.end == exchange_end::timeout   ? outcome::timeout
         : how.end == exchange_end::cancelled ? outcome::cancelled
                                              : outcome::broken,
         how.message);
}

void answer_meter::settle_answer(std::int64_t at_ns) {
  if (to_.status != 200) {
    auto message = error_message(body_);
    if (!retry_after_.empty()) message += " (retry after " + retry_after_ + ")";
    return settle(to_.status == 429 ? outcome::rejected : outcome::http_error, std::move(message));
  }
  if (!is_stream_) return settle(outcome::broken, "the answer is no stream of events but " + content_type_);
  events_.end([&](std::string_view data) { event(data, at_ns); });
  if (!error_.empty()) return settle(broken_ ? outcome::broken : outcome::stream_error, error_);
  if (!done_ && !finished_) return settle(outcome::broken, "the stream ended before the answer did");
  settle(outcome::completed);
}

} // namespace quadrant::actors::loadgen
