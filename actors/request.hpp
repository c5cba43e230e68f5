// actors/request.hpp: the life of one request.
//
//   admitting ─▶ leasing ─▶ prefilling ─▶ decoding ─▶ done
//        └───────────┴───────────┴────────────┴──────▶ failed, cancelled
//
// It owns the log that a replay would need: prompt, tokens so far, seed, parameters, attempt. Tokens come as (attempt,
// sample, index); an index that is already known is dropped, an old attempt too. It has one or several samples, which share
// the prompt's way through the cluster, and end one by one.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "actors/cluster_plan.hpp"
#include "actors/interfaces.hpp"
#include "actors/observed.hpp"
#include "actors/token_sink.hpp"
#include "scheduler/kv_split.hpp"

namespace quadrant::actors {

/// Whom a request talks to; from the newest view.
struct serving_view {
  std::shared_ptr<const cluster_plan> plan;
  msg::view view;
  handles workers;
  router_actor router;
  planner_actor planner;
  decode_actor decode;
};

class live_request : public observed<request_actor::base> {
public:
  live_request(caf::actor_config& config, msg::request_spec spec, serving_view around,
               std::shared_ptr<token_sink> sink);
  behavior_type make_behavior() override;
  void on_exit() override;

private:
  void admit();
  void lease();
  void leased(const msg::lease& message);
  void start_prefill(std::optional<wire::KvPlace::Reader> to);
  void first_token(const msg::first_token& message);
  void logits(const msg::logit_rows& message);
  void token(const msg::token& message);
  void put(std::int32_t sample, wire::Made::Reader made);
  [[nodiscard]] std::optional<finish> end_after(std::int32_t index, std::int32_t id) const;
  void end(std::int32_t sample, finish why);
  void cancel(std::int32_t sample);
  void cancel_all();
  void stop_decoding(std::int32_t sample);
  void fail(const failure& why);
  [[nodiscard]] failure no_token(std::int32_t index) const;
  void give_back();

  msg::request_spec spec_;
  serving_view around_;
  std::shared_ptr<token_sink> sink_;
  std::uint64_t id_;
  std::uint32_t attempt_ = 1;
  bool asked_router_ = false, leased_ = false, over_ = false;
  std::map<std::int32_t, msg::logit_rows> early_logits_; ///< by first position
  std::int32_t logits_until_ = 0;                        ///< positions whose logits have been given
  struct answer {
    std::vector<std::int32_t> tokens; ///< the answer so far
    bool ended = false;
  };
  std::vector<answer> samples_;
  std::int32_t open_samples_;
  std::vector<msg::token> early_tokens_;   ///< of decode, before the first ones of prefill
  bool begun_ = false;                     ///< the first tokens have come
  bool decoding_ = false;                  ///< decode has told a token
  std::vector<std::int32_t> not_decoding_; ///< samples that are cancelled, and that decode does not know of
  std::optional<kv_transfer_actor> transfer_;
};

} // namespace quadrant::actors
