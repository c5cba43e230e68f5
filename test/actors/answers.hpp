// test/actors/answers.hpp: asks an engine and waits for the answer.
#pragma once
#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "actors/engine.hpp"

namespace quadrant::test {

struct answer {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint64_t> digests;
  std::vector<std::pair<std::int32_t, float>> logprobs; ///< of each token its own, then the likeliest
  actors::finish why = actors::finish::stop;
  std::vector<float> logits;

  bool operator==(const answer&) const = default;
};

class collector final : public actors::token_sink {
public:
  explicit collector(std::int32_t samples = 1) : sofar_(std::size_t(samples)), open_(samples) {}

  void prompt_read(std::int32_t cached_tokens) override {
    in_order_ = in_order_ && count_ == 0;
    cached_ = cached_tokens;
  }
  void token(const actors::made_token& t) override {
    auto& a = sofar_.at(std::size_t(t.sample));
    in_order_ = in_order_ && std::size_t(t.index) == a.tokens.size() && cached_ >= 0;
    a.tokens.push_back(t.id);
    a.digests.push_back(t.digest);
    if (!t.top.empty() || t.logprob != 0) a.logprobs.emplace_back(t.id, t.logprob);
    for (const auto& l : t.top) a.logprobs.emplace_back(l.id, l.logprob);
    ++count_;
  }
  void logits(std::int32_t, std::int32_t, std::span<const float> rows) override {
    sofar_[0].logits.insert(sofar_[0].logits.end(), rows.begin(), rows.end());
  }
  void finished(std::int32_t sample, actors::finish why) override {
    sofar_.at(std::size_t(sample)).why = why;
    if (--open_ > 0) return;
    if (in_order_)
      end_.set_value(std::move(sofar_)); // a second end would throw: exactly one comes
    else
      end_.set_value(failure{errc::corrupt, "tokens came out of order"});
  }
  void failed(const failure& why) override { end_.set_value(why); }

  [[nodiscard]] std::size_t count() const { return count_.load(); }
  [[nodiscard]] std::int32_t cached_tokens() const { return cached_.load(); }
  /// Waits for the first `n` tokens; false: they did not come.
  [[nodiscard]] bool has(std::size_t n, std::chrono::seconds patience = std::chrono::seconds(60)) const {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (count() < n && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return count() >= n;
  }
  /// The answers of all samples; a stream that hangs is an error.
  result<std::vector<answer>> wait_all(std::chrono::seconds patience = std::chrono::seconds(120)) {
    auto future = end_.get_future();
    if (future.wait_for(patience) != std::future_status::ready) return {errc::deadline, "the answer did not end"};
    return future.get();
  }
  /// That of the first.
  result<answer> wait(std::chrono::seconds patience = std::chrono::seconds(120)) {
    QUADRANT_TRY(auto all, wait_all(patience));
    return std::move(all.front());
  }

private:
  std::vector<answer> sofar_;
  std::int32_t open_;
  bool in_order_ = true;
  std::atomic<std::size_t> count_{0};
  std::atomic<std::int32_t> cached_{-1}; ///< -1: the prompt has not been read
  std::promise<result<std::vector<answer>>> end_;
};

struct asked {
  std::uint64_t id = 0;
  std::shared_ptr<collector> sink;
};
inline asked ask(actors::engine& engine, actors::generation what) {
  auto sink = std::make_shared<collector>(what.samples);
  return {engine.submit(std::move(what), sink), sink};
}

/// Waits until the cluster holds nothing for any request, and no actor of one lives; the last state seen.
inline actors::cluster_status settled(actors::engine& engine) {
  for (int i = 0;; ++i) {
    auto now = engine.status();
    const bool alive =
        std::ranges::any_of(now.actors, [](const auto& a) { return a.role == "request" || a.role == "kv transfer"; });
    const bool holds = now.blocks_used != 0 || now.requests_live != 0 || now.credits_out != 0 || now.leases != 0;
    if ((!alive && !holds) || i == 500) return now;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

} // namespace quadrant::test
