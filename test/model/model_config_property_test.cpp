#include "model/model_config.hpp"
#include "test/model/support.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

TEST_CASE("no bytes crash the reader of config.json") {
  auto small = nlohmann::json::parse(read_file(default_model() / "config.json"));
  small["quantization_config"]["ignore"] = {"lm_head"};
  const auto good = small.dump(1), generation = read_file(default_model() / "generation_config.json");
  property(
      "a changed file gives numbers in their ranges, or one line",
      [&] {
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
        for (const auto id : c->eos_token_ids) RC_ASSERT(id >= 0 && id < c->vocab_size);
      },
      2000);
  property(
      "any value in any field gives numbers, or one line",
      [&] {
        auto config = small;
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
