#include "actors/loadgen/probe.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include <boost/asio/co_spawn.hpp>

#include "actors/loadgen/answer_event.hpp"

namespace quadrant::actors::loadgen {
namespace {

using json = nlohmann::json;

constexpr std::size_t max_body_bytes = 16 << 20;

std::optional<std::int64_t> positive(const json& object, const char* key) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_number_integer()) return std::nullopt;
  const auto n = object[key].get<std::int64_t>();
  return n > 0 && n < (1LL << 31) ? std::optional(n) : std::nullopt;
}

failure refused(std::string_view path, int status, const std::string& body) {
  return {errc::unavailable,
          std::string(path) + " is refused with " + std::to_string(status) + ": " + error_message(body)};
}

} // namespace

std::string_view to_string(probe::counted how) noexcept {
  switch (how) {
  case probe::counted::by_tokenize: return "tokenize";
  case probe::counted::by_usage: return "usage";
  case probe::counted::not_at_all: return "assumed";
  }
  return "";
}

result<probe::reply> probe::ask(std::string_view path, std::string body) {
  reply got;
  std::optional<exchange> done;
  std::exception_ptr thrown;
  client::piece_sink sink = [&](const response_reader& head, std::string_view piece, std::int64_t) {
    got.status = head.status();
    got.body += piece.substr(0, max_body_bytes - got.body.size());
  };
  io.restart();
  boost::asio::co_spawn(io, to.send(path, std::move(body), timeout_ns, std::move(sink)),
                        [&](std::exception_ptr e, exchange x) {
                          thrown = std::move(e);
                          done = std::move(x);
                        });
  for (bool cancelled = false; !done; io.run_for(std::chrono::milliseconds(50)))
    if (stop && stop() && !std::exchange(cancelled, true)) to.cancel_all();
  if (thrown) std::rethrow_exception(thrown);
  switch (done->end) {
  case exchange_end::whole: return got;
  case exchange_end::cancelled: return {errc::cancelled, "stopped before the first request"};
  default: return {errc::unavailable, to.where().url() + std::string(path) + ": " + done->message};
  }
}

result<probe::served_model> probe::find_model(const std::string& name) {
  QUADRANT_TRY(const auto got, ask("/v1/models", {}));
  const auto url = to.where().url() + "/v1/models";
  const auto body = json::parse(got.body, nullptr, false);
  if (got.status != 200 || !body.is_object() || !body.contains("data") || !body["data"].is_array()) {
    if (got.status == 401 || got.status == 403)
      return {errc::unavailable, refused(url, got.status, got.body).message + "; is --api-key right?"};
    if (!name.empty()) return served_model{name}; // a server that does not list its models may serve this one
    return {errc::not_found, url + " lists no models; name one with --model"};
  }
  std::string listed;
  for (const auto& model : body["data"]) {
    if (!model.is_object() || !model.contains("id") || !model["id"].is_string()) continue;
    const auto id = model["id"].get<std::string>();
    if (name.empty() || id == name) return served_model{id, std::int32_t(positive(model, "max_model_len").value_or(0))};
    listed += (listed.empty() ? "" : ", ") + id;
  }
  if (listed.empty() && !name.empty()) return served_model{name};
  if (listed.empty()) return {errc::not_found, url + " lists no models; name one with --model"};
  return {errc::not_found, to.where().url() + " serves no model " + name + ", but: " + listed.substr(0, 400)};
}

result<probe::token_count> probe::measure_rate(const question_form& form, std::int32_t max_positions) {
  // Every word once more: the mean of what prompts are drawn from. Fewer where they might not fit.
  const auto more = max_positions == 0 ? num_words : std::min(num_words, 1 + std::size_t(max_positions) / 8);
  const std::string texts[] = {words_in_turn(1), words_in_turn(1 + more)};
  std::int64_t counts[2];
  const auto rate = [&] {
    token_rate r;
    r.per_word = std::max(0.05, double(counts[1] - counts[0]) / double(more));
    r.overhead = std::max(0.0, double(counts[0]) - r.per_word);
    return r;
  };
  const auto by_tokenize = [&]() -> result<bool> {
    for (int i = 0; i < 2; ++i) {
      QUADRANT_TRY(const auto got, ask("/tokenize", form.to_tokenize(texts[i])));
      const auto count = positive(json::parse(got.body, nullptr, false), "count");
      if (got.status != 200 || !count) return false;
      counts[i] = *count;
    }
    return true;
  };
  QUADRANT_TRY(const bool tokenized, by_tokenize());
  if (tokenized) return token_count{rate(), counted::by_tokenize};
  for (int i = 0; i < 2; ++i) {
    QUADRANT_TRY(const auto got, ask(form.path(), form.whole(texts[i], 1)));
    if (got.status != 200) return refused(to.where().url() + std::string(form.path()), got.status, got.body);
    const auto usage = parse_usage(got.body);
    if (!usage) return token_count{};
    counts[i] = usage->prompt_tokens;
  }
  return token_count{rate(), counted::by_usage};
}

} // namespace quadrant::actors::loadgen
