// test/actors/http/scripted_engine.hpp: an engine that answers as the test says: it fails, stalls or talks on command,
// which a healthy cluster cannot be made to do.
// Threads any; waits end after a minute, which no healthy run needs
#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <vector>

#include "actors/engine.hpp"

namespace quadrant::test {

class scripted_engine final : public actors::engine {
public:
  struct submission {
    std::uint64_t id = 0;
    actors::generation what;
    std::shared_ptr<actors::token_sink> sink;
  };

  explicit scripted_engine(model::model_config config) : config_(std::move(config)) { status_.serving = true; }

  std::uint64_t submit(actors::generation what, std::shared_ptr<actors::token_sink> sink) override {
    const std::lock_guard hold(mutex_);
    submissions_.push_back({++last_id_, std::move(what), std::move(sink)});
    changed_.notify_all();
    return last_id_;
  }
  void cancel(std::uint64_t id) override {
    const std::lock_guard hold(mutex_);
    cancelled_.insert(id);
    changed_.notify_all();
  }
  void cancel(std::uint64_t id, std::int32_t sample) override {
    const std::lock_guard hold(mutex_);
    cancelled_samples_.insert({id, sample});
    changed_.notify_all();
  }
  actors::cluster_status status() override {
    const std::lock_guard hold(mutex_);
    return status_;
  }
  [[nodiscard]] const model::model_config& config() const override { return config_; }
  [[nodiscard]] std::uint16_t control_port() const override { return 0; }

  /// The next request that is submitted.
  submission next() {
    wait([this] { return taken_ < submissions_.size(); }, "no request was submitted");
    const std::lock_guard hold(mutex_);
    return submissions_[taken_++];
  }
  void wait_for_cancel(std::uint64_t id) {
    wait([this, id] { return cancelled_.contains(id); }, "the request was not cancelled");
  }
  [[nodiscard]] bool cancelled(std::uint64_t id) {
    const std::lock_guard hold(mutex_);
    return cancelled_.contains(id);
  }
  void wait_for_cancel(std::uint64_t id, std::int32_t sample) {
    wait([this, id, sample] { return cancelled_samples_.contains({id, sample}); }, "the sample was not cancelled");
  }
  void set_status(const actors::cluster_status& now) {
    const std::lock_guard hold(mutex_);
    status_ = now;
  }

private:
  void wait(const std::function<bool()>& for_what, const char* complaint) {
    std::unique_lock hold(mutex_);
    if (!changed_.wait_for(hold, std::chrono::minutes(1), for_what)) throw std::runtime_error(complaint);
  }
  model::model_config config_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<submission> submissions_;
  std::size_t taken_ = 0;
  std::set<std::uint64_t> cancelled_;
  std::set<std::pair<std::uint64_t, std::int32_t>> cancelled_samples_;
  std::uint64_t last_id_ = 0;
  actors::cluster_status status_;
};

} // namespace quadrant::test
