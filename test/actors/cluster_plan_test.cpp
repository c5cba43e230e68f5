#include <set>

#include "actors/cluster_plan.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors;

namespace {

model::model_config tiny_config() {
  model::model_config c;
  c.family = "qwen3_moe";
  c.hidden_size = 128;
  c.num_layers = 6;
  c.num_q_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 32;
  c.num_experts = 9;
  c.num_experts_per_tok = 2;
  c.moe_intermediate_size = 64;
  c.intermediate_size = 128;
  c.vocab_size = 256;
  c.max_position_embeddings = 512;
  return c;
}

topology any_topology() {
  topology t;
  t.prefill_pp = *rc::gen::inRange(1, 7);
  t.prefill_tp = *rc::gen::element(1, 2, 4);
  t.decode_tp = *rc::gen::element(1, 2, 4);
  t.experts_prefill_ep = *rc::gen::inRange(0, 5);
  t.experts_decode_ep = *rc::gen::inRange(0, 5);
  return t;
}

} // namespace

TEST_CASE("cluster_plan") {
  test::property("gives every worker a row of its own, in the order of its names", [] {
    const auto plan = cluster_plan::make(any_topology(), tiny_config(), gpu::numerics_of(gpu::precision::w4a8));
    RC_ASSERT(plan.ok());
    for (std::uint32_t row = 0; row < plan->workers().size(); ++row) {
      const auto id = worker_id::parse(plan->workers()[row]);
      RC_ASSERT(id.has_value());
      RC_ASSERT(plan->row_of(*id) == row);
    }
  });
  test::property("gives every layer to one stage and every expert to one group", [] {
    const auto t = any_topology();
    const auto plan = *cluster_plan::make(t, tiny_config(), gpu::numerics_of(gpu::precision::w4a8));
    std::int32_t layer = 0;
    for (std::int32_t stage = 0; stage < t.prefill_pp; ++stage) {
      const auto spec = plan.shard_of({role::prefill, stage, 0});
      RC_ASSERT(spec.first_layer == layer);
      RC_ASSERT(spec.num_layers() > 0);
      layer = spec.end_layer;
    }
    RC_ASSERT(layer == 6);
    for (const auto phase : {role::prefill, role::decode}) {
      std::int32_t expert = 0;
      for (std::int32_t ep = 0; ep < plan.num_groups(phase); ++ep) {
        const auto range = plan.experts_of(phase, ep);
        RC_ASSERT(range.first == expert);
        RC_ASSERT(range.end > range.first);
        expert = range.end;
      }
      RC_ASSERT(expert == (plan.num_groups(phase) == 0 ? 0 : 9));
    }
  });
  test::property("numbers the callers of expert groups without gaps", [] {
    const auto t = any_topology();
    const auto plan = *cluster_plan::make(t, tiny_config(), gpu::numerics_of(gpu::precision::f32));
    std::set<std::uint32_t> callers;
    for (std::int32_t stage = 0; stage < t.prefill_pp; ++stage)
      for (std::int32_t rank = 0; rank < t.prefill_tp; ++rank)
        callers.insert(plan.caller_of({role::prefill, stage, rank}));
    RC_ASSERT(callers.size() == std::size_t(t.prefill_pp * t.prefill_tp));
    RC_ASSERT(*callers.rbegin() + 1 == plan.dispatch_of(role::prefill).callers);
  });
}

TEST_CASE("cluster_plan refuses what the model cannot do, and says what and why") {
  const auto refused = [](topology t) {
    const auto plan = cluster_plan::make(t, tiny_config(), gpu::numerics_of(gpu::precision::w4a8));
    return plan ? std::string("accepted") : plan.error().message;
  };
  topology t;
  t.prefill_pp = 7;
  CHECK(refused(t) == "prefill.pp = 7 is more than the model's 6 layers");
  t = {};
  t.decode_tp = 3;
  CHECK(refused(t) == "query heads of this model (4) do not divide by tp = 3");
  t = {};
  t.experts_decode_ep = 10;
  CHECK(refused(t) == "experts: 10 groups are more than the model's 9 experts");
}

TEST_CASE("a worker's name is read back, and nothing else is a name") {
  for (const auto* name : {"prefill.0.0", "prefill.12.3", "decode.4", "experts.prefill.0", "experts.decode.31"})
    CHECK(worker_id::parse(name).has_value());
  for (const auto* name : {"", "prefill", "prefill.0", "prefill.0.0.0", "prefill.-1.0", "prefill.x.0", "decode.",
                           "experts.0", "experts.draft.0", "decode.1 "})
    CHECK_FALSE(worker_id::parse(name).has_value());
}
