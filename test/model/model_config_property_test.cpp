#include "model/families/families.hpp"
#include "model/model_config.hpp"
#include "test/model/support.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

TEST_CASE("no bytes crash the reader of config.json") {
  auto small = nlohmann::json::parse(read_file(default_model() / "config.json"));
  small["quantization_config"]["ignore"] = {"lm_head"};
  // Words of all families: each reads its own.
  small["num_local_experts"] = 8;
  small["shared_expert_intermediate_size"] = 64;
  small["clip_qkv"] = 0.5;
  small["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 256}};
  const auto any_family = [](nlohmann::json config) {
    const auto known = families::all();
    config["model_type"] = known[*rc::gen::inRange<std::size_t>(0, known.size())].model_type;
    return config;
  };
  const auto generation = read_file(default_model() / "generation_config.json");
  property(
      "a changed file gives numbers in their ranges, or one line",
      [&] {
        const auto good = any_family(small).dump(1);
        const bool first = *rc::gen::arbitrary<bool>();
        const auto c =
            parse_model_config(first ? mutated(good) : good, first ? generation : mutated(generation), "f/config.json");
        if (!c) {
          RC_ASSERT(c.error().message.starts_with("f/"));
          RC_ASSERT(c.error().message.find('\n') == std::string::npos);
          return;
        }
        RC_ASSERT(c->hidden_size > 0);
        RC_ASSERT(c->num_kv_heads > 0);
        RC_ASSERT(c->num_q_heads % c->num_kv_heads == 0);
        RC_ASSERT(c->num_experts_per_tok <= c->num_experts);
        RC_ASSERT(c->moe_layers.empty() || std::int32_t(c->moe_layers.size()) == c->num_layers);
        for (const auto id : c->eos_token_ids) RC_ASSERT(id >= 0 && id < c->vocab_size);
      },
      2000);
  property(
      "any value in any field gives numbers, or one line",
      [&] {
        auto config = any_family(small);
        auto field = config.begin();
        std::advance(field, *rc::gen::inRange<std::size_t>(0, config.size()));
        const auto number = *rc::gen::arbitrary<std::int64_t>();
        const std::vector<nlohmann::json> values = {number,       number % 1000, -1,     0,     1e300, -0.5,
                                                    nullptr,      true,          "text", {1},   {{}},  {},
                                                    {{"a", {1}}}, {-1, "x"},     ~0ull,  1e-320};
        *field = *rc::gen::elementOf(values);
        const auto c = parse_model_config(config.dump(), generation, "f");
        RC_ASSERT((c.ok() || c.error().message.find('\n') == std::string::npos));
      },
      1000);
}
