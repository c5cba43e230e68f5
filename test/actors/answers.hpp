// test/actors/answers.hpp: asks an engine and waits for the answer.
#pragma once
#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "actors/engine.hpp"

namespace quadrant::test {

struct answer {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint64_t> digests;
  actors::finish why = actors::finish::stop;
  std::vector<float> logits;

  bool operator==(const answer&) const = default;
};

class collector final : public actors::token_sink {
public:
  void token(const actors::made_token& t) override {
    in_order_ = in_order_ && std::size_t(t.index) == sofar_.tokens.size();
    sofar_.tokens.push_back(t.id);
    sofar_.digests.push_back(t.digest);
    count_.store(sofar_.tokens.size());
  }
  void logits(std::int32_t, std::int32_t, std::span<const float> rows) override {
    sofar_.logits.insert(sofar_.logits.end(), rows.begin(), rows.end());
  }
  void finished(std::int32_t, actors::finish why) override {
    sofar_.why = why;
    if (in_order_)
      end_.set_value(std::move(sofar_)); // a second end would throw: exactly one comes
    else
      end_.set_value(failure{errc::corrupt, "tokens came out of order"});
  }
  void failed(const failure& why) override { end_.set_value(why); }

  [[nodiscard]] std::size_t count() const { return count_.load(); }
  /// Waits for the first `n` tokens; false: they did not come.
  [[nodiscard]] bool has(std::size_t n, std::chrono::seconds patience = std::chrono::seconds(60)) const {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (count() < n && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return count() >= n;
  }
  /// The answer; a stream that hangs is an error.
  result<answer> wait(std::chrono::seconds patience = std::chrono::seconds(120)) {
    auto future = end_.get_future();
    if (future.wait_for(patience) != std::future_status::ready) return {errc::deadline, "the answer did not end"};
    return future.get();
  }

private:
  answer sofar_;
  bool in_order_ = true;
  std::atomic<std::size_t> count_{0};
  std::promise<result<answer>> end_;
};

struct asked {
  std::uint64_t id = 0;
  std::shared_ptr<collector> sink;
};
inline asked ask(actors::engine& engine, actors::generation what) {
  auto sink = std::make_shared<collector>();
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
