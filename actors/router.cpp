#include "actors/router.hpp"

#include "actors/wire.hpp"

namespace quadrant::actors {

router::behavior_type router::make_behavior() {
  now("serving");
  return {[this](const msg::admit& message) {
            return msg::route::make([&](wire::Route::Builder& b) {
              const auto v = message.view();
              const auto tokens = std::int64_t(v->getPromptTokens()) + v->getMaxNewTokens();
              const auto room = plan_->layout().max_queued_requests + plan_->layout().decode_max_sequences;
              if (!down_.empty()) {
                write(b.initProblem(), failure{errc::unavailable, "the cluster is not serving: " + down_});
              } else if (std::int64_t(live_.size()) >= room) {
                write(b.initProblem(),
                      failure{errc::out_of_blocks, "the queue is full: " + std::to_string(live_.size()) +
                                                       " requests are live; try again later"});
              } else if (tokens > plan_->config().max_position_embeddings) {
                write(b.initProblem(),
                      failure{errc::invalid_argument,
                              "prompt (" + std::to_string(v->getPromptTokens()) + " tokens) and new tokens (" +
                                  std::to_string(v->getMaxNewTokens()) + ") pass the model's " +
                                  std::to_string(plan_->config().max_position_embeddings) + " positions"});
              } else {
                live_.insert(v->getRequest());
              }
            });
          },
          [this](const msg::forget& message) { live_.erase(message.view()->getRequest()); },
          [this](const msg::worker_down& message) {
            const auto v = message.view();
            down_ = std::string("worker ") + v->getName().cStr() + " was lost (" + v->getReason().cStr() + ")";
            now("not serving");
          },
          [this](const msg::view&, const handles&) { down_.clear(); },
          [this](const msg::status_query&) {
            return msg::status_report::make([this](wire::StatusReport::Builder& b) {
              b.initBooks().setRequestsLive(std::int64_t(live_.size()));
              b.setServing(down_.empty());
              b.setNote(down_);
            });
          }};
}

} // namespace quadrant::actors
