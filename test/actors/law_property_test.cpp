// The first law: the answer is a function of prompt, model, parameters and seed, and of nothing else.
// Every case draws a cluster and its load, and compares each answer's tokens and logits digests with those of one
// worker of each kind that computes the prompt whole and alone.
#include <cstdlib>
#include <map>

#include "gpu/backend.hpp"
#include "model/random_checkpoint.hpp"
#include "test/actors/answers.hpp"
#include "test/model/tiny_checkpoint.hpp"
#include "test/support/property.hpp"

using namespace quadrant;

namespace {

struct subject {
  std::filesystem::path directory;
  std::int32_t layers, vocabulary, experts, max_tp;
  bool speaks = false; ///< has a tokenizer
};

const subject& trained() {
  static const subject s{test::default_model(), 6, 4093, 32, 4, true}; // the last three ids are control tokens
  return s;
}
const subject& random_weights(int which) {
  static const test::tiny_checkpoint first(11), second(12);
  static const subject subjects[] = {{first.path(), 3, 128, 4, 4}, {second.path(), 3, 128, 4, 4}};
  return subjects[which];
}

/// A tiny model of each family with random weights; what a family has and others do not is in it.
class family_subjects {
public:
  family_subjects() {
    const nlohmann::json latent = {{"kv_lora_rank", 32},     {"q_lora_rank", 32}, {"qk_nope_head_dim", 16},
                                   {"qk_rope_head_dim", 16}, {"v_head_dim", 16},  {"n_routed_experts", 8},
                                   {"n_group", 4},           {"topk_group", 2},   {"first_k_dense_replace", 1},
                                   {"n_shared_experts", 1}};
    auto v2 = latent;
    v2["q_lora_rank"] = nullptr;
    v2["topk_method"] = "group_limited_greedy";
    add("deepseek_v2", v2, 8);
    add("deepseek_v3", latent, 8);
    add("llama",
        {{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}, {"original_max_position_embeddings", 64}}}}, 0);
    add("mixtral", {{"num_local_experts", 6}, {"intermediate_size", 32}}, 6);
    add("olmoe", {{"num_experts", 6}, {"intermediate_size", 32}, {"clip_qkv", 0.4}}, 6);
    add("qwen2_moe", {{"num_experts", 6}, {"shared_expert_intermediate_size", 96}}, 6);
    add("qwen3", {{"head_dim", 16}, {"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}}}}, 0);
  }
  [[nodiscard]] const subject& any() const { return list_[*rc::gen::inRange<std::size_t>(0, list_.size())]; }

private:
  void add(const std::string& family, const nlohmann::json& own, std::int32_t experts) {
    nlohmann::json config = {{"model_type", family},           {"hidden_size", 64},        {"num_hidden_layers", 3},
                             {"num_attention_heads", 4},       {"num_key_value_heads", 2}, {"num_experts_per_tok", 2},
                             {"moe_intermediate_size", 32},    {"intermediate_size", 96},  {"vocab_size", 384},
                             {"max_position_embeddings", 1024}};
    config.update(own);
    const auto at = folder_.path() / family;
    std::filesystem::create_directories(at);
    test::write_file(at / "like.json", config.dump());
    if (const auto made = model::write_random_checkpoint({.like = at / "like.json", .out = at / "model", .seed = 5});
        !made)
      throw std::runtime_error(made.error().message);
    list_.push_back({at / "model", 3, 380, experts, 4});
  }
  test::temporary_folder folder_;
  std::vector<subject> list_;
};

void set_isa(const char* word) { ::setenv("QUADRANT_ISA", word, 1); }

std::unique_ptr<actors::engine> start(const subject& s, const topology& t) {
  auto engine = actors::engine::start({.model = s.directory, .layout = t, .executable = QUADRANT_PROGRAM});
  if (!engine) throw std::runtime_error(engine.error().message); // rapidcheck shows it
  return std::move(*engine);
}

/// One of everything, whole prompts, nothing ahead.
actors::engine& reference(const subject& s, const std::string& precision) {
  static std::map<std::string, std::unique_ptr<actors::engine>> engines;
  auto& engine = engines[s.directory.string() + precision];
  if (!engine) {
    topology t;
    t.precision = precision;
    t.prefill_micro_batches = 1;
    t.prefill_micro_batch_tokens = t.prefill_chunk_tokens = 2048;
    t.prefill_kv_blocks = 32;
    t.decode_kv_blocks = 32;
    t.decode_launch_ahead = 1;
    t.prefill_prefix_cache = t.decode_prefix_cache = 0;
    set_isa("");
    engine = start(s, t);
  }
  return *engine;
}

topology draw_topology(const subject& s) {
  topology t;
  t.precision = *rc::gen::element<std::string>("f32", "w4a8");
  t.prefill_pp = *rc::gen::inRange(1, s.layers + 1);
  t.prefill_tp = *rc::gen::element(1, 2, s.max_tp);
  t.prefill_threads = *rc::gen::inRange(0, 3);
  t.prefill_micro_batches = *rc::gen::inRange(1, 5);
  t.prefill_chunk_tokens = *rc::gen::element(1, 7, 64, 100, 256);
  t.prefill_micro_batch_tokens = *rc::gen::element(1, 16, 64, 130, 300);
  t.prefill_kv_blocks = *rc::gen::inRange(11, 40);
  t.decode_tp = *rc::gen::element(1, 2, s.max_tp);
  t.decode_kv_split = *rc::gen::element<std::int64_t>(1, t.decode_tp > 1 ? 2 : 1, t.decode_tp);
  t.decode_micro_batches = *rc::gen::inRange(1, 4);
  t.decode_launch_ahead = *rc::gen::inRange(1, 5);
  t.decode_max_sequences = *rc::gen::inRange(1, 9);
  t.decode_kv_blocks = *rc::gen::inRange(12, 60);
  t.prefill_prefix_cache = *rc::gen::weightedElement<std::int64_t>({{3, 1}, {1, 0}});
  t.decode_prefix_cache = *rc::gen::weightedElement<std::int64_t>({{3, 1}, {1, 0}});
  t.experts_prefill_ep = s.experts == 0 ? 0 : *rc::gen::inRange(0, 4);
  t.experts_decode_ep = s.experts == 0 ? 0 : *rc::gen::inRange(0, 4);
  return t;
}

/// Puts each worker into one of a few processes.
void draw_processes(topology& t) {
  const auto count = *rc::gen::inRange<std::size_t>(1, 4);
  std::vector<process_spec> processes(count);
  for (std::size_t i = 0; i < count; ++i) processes[i].name = "p" + std::to_string(i);
  for (const auto& worker : t.worker_names())
    processes[*rc::gen::inRange<std::size_t>(0, count)].runs.push_back(worker);
  std::erase_if(processes, [](const auto& p) { return p.runs.empty(); });
  t.processes = std::move(processes);
}

void draw_rules(const subject& s, actors::generation& g);

actors::generation draw_request(const subject& s, std::int32_t longest) {
  actors::generation g;
  g.tokens = *rc::gen::container<std::vector<std::int32_t>>(std::size_t(*rc::gen::inRange(1, longest + 1)),
                                                            rc::gen::inRange(0, s.vocabulary));
  g.max_new_tokens = *rc::gen::inRange(1, 13);
  if (*rc::gen::arbitrary<bool>()) {
    g.sampling.temperature = *rc::gen::element(0.3f, 0.8f, 1.5f);
    g.sampling.top_p = *rc::gen::element(1.0f, 0.9f);
    g.sampling.top_k = *rc::gen::element(0, 20);
    g.sampling.min_p = *rc::gen::element(0.0f, 0.05f);
    g.sampling.seed = *rc::gen::arbitrary<std::uint64_t>();
  }
  if (*rc::gen::arbitrary<bool>()) draw_rules(s, g);
  return g;
}

/// What changes logits, and what is told of them.
void draw_rules(const subject& s, actors::generation& g) {
  const auto token = rc::gen::inRange(0, s.vocabulary);
  g.sampling.presence = *rc::gen::element(0.0f, 0.7f);
  g.sampling.frequency = *rc::gen::element(0.0f, 0.4f, -0.2f);
  g.sampling.repetition = *rc::gen::element(1.0f, 1.4f);
  g.top_logprobs = *rc::gen::element(-1, 0, 3, 20);
  for (auto n = *rc::gen::inRange(0, 4); n > 0; --n)
    g.bias.push_back({*token, *rc::gen::element(-100.0f, 2.5f, 30.0f)});
  if (*rc::gen::arbitrary<bool>()) {
    g.stop_tokens = *rc::gen::container<std::vector<std::int32_t>>(std::size_t(s.vocabulary) / 4, token);
    g.min_new_tokens = *rc::gen::inRange(0, g.max_new_tokens + 1);
  }
  if (s.speaks && *rc::gen::weightedElement<bool>({{2, false}, {1, true}})) g.form = actors::answer_form::json_object;
}

/// Of requests with several samples, each as a request of its own.
std::vector<actors::generation> samples_of(const actors::generation& g) {
  std::vector<actors::generation> list(std::size_t(g.samples), g);
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i].samples = 1;
    list[i].sampling.sample_index += std::uint32_t(i);
  }
  return list;
}

/// Every answer of a cluster, all asked together, with that of the reference, which is asked for one sample at a time.
void compare(const subject& s, const topology& t, const std::vector<actors::generation>& load, const char* isa = "") {
  std::vector<std::vector<test::answer>> alone;
  for (const auto& g : load) {
    alone.emplace_back();
    for (const auto& one : samples_of(g)) {
      auto a = test::ask(reference(s, t.precision), one).sink->wait();
      if (!a) RC_FAIL(a.error().message);
      alone.back().push_back(std::move(*a));
    }
  }
  set_isa(isa);
  const auto engine = start(s, t);
  std::vector<test::asked> together;
  for (const auto& g : load) together.push_back(test::ask(*engine, g));
  for (std::size_t i = 0; i < load.size(); ++i) {
    const auto a = together[i].sink->wait_all();
    if (!a) RC_FAIL(a.error().message);
    RC_LOG() << "request " << i << ": " << load[i].tokens.size() << " tokens, " << load[i].samples << " samples\n";
    for (std::size_t n = 0; n < a->size(); ++n) {
      RC_ASSERT((*a)[n].tokens == alone[i][n].tokens);
      RC_ASSERT((*a)[n].digests == alone[i][n].digests);
    }
    RC_ASSERT(*a == alone[i]); // logprobs, and why it ended
    if (t.prefill_prefix_cache == 0) RC_ASSERT(together[i].sink->cached_tokens() == 0);
  }
  const auto books = test::settled(*engine);
  RC_ASSERT(books.blocks_used == 0);
  RC_ASSERT(books.blocks_free + books.blocks_cached == books.blocks_total);
  RC_ASSERT(books.requests_live == 0);
}

void hold_the_law(const subject& s) {
  auto t = draw_topology(s);
  const bool apart = *rc::gen::weightedElement<bool>({{3, false}, {1, true}});
  if (apart) draw_processes(t);
  const auto isas = gpu::available_isas();
  const auto isa = *rc::gen::elementOf(isas);
  const char* words[] = {"scalar", "avx2", "avx512"};
  // The plain back-end and one-token chunks are slow: shorter prompts there.
  const auto longest =
      isa == gpu::isa::scalar
          ? 70
          : std::min<std::int32_t>(700,
                                   std::int32_t(std::min(t.prefill_chunk_tokens, t.prefill_micro_batch_tokens)) * 40);
  auto load = *rc::gen::container<std::vector<actors::generation>>(
      *rc::gen::inRange<std::size_t>(1, 6), rc::gen::exec([&] { return draw_request(s, longest); }));
  for (auto& g : load) {
    g.samples = *rc::gen::weightedElement<std::int32_t>(
        {{3, 1}, {1, std::min<std::int32_t>(3, std::int32_t(t.decode_max_sequences))}});
    const auto common = *rc::gen::inRange<std::size_t>(0, std::min(g.tokens.size(), load[0].tokens.size()) + 1);
    std::copy_n(load[0].tokens.begin(), common, g.tokens.begin()); // begins like the first one
  }
  RC_LOG() << words[int(isa)] << "\n" << to_toml(t);

  compare(s, t, load, words[int(isa)]);
}

/// Prompts of several segments, whose KV is split in different places.
void hold_the_law_of_long_prompts() {
  const auto& s = trained();
  topology t;
  t.precision = *rc::gen::element<std::string>("bf16", "w4a8");
  t.prefill_tp = *rc::gen::element(1, 2);
  t.decode_tp = *rc::gen::element(2, 4);
  t.decode_kv_split = *rc::gen::element<std::int64_t>(2, t.decode_tp);
  t.decode_micro_batches = *rc::gen::inRange(1, 3);
  t.experts_decode_ep = *rc::gen::inRange(0, 3);
  t.decode_kv_blocks = *rc::gen::inRange(24, 70); // 32 would be needed for the longest on one worker
  RC_LOG() << to_toml(t);
  std::vector<actors::generation> load;
  for (const auto longest : {1030, 1900, 60, 1500}) load.push_back(draw_request(s, longest));
  load[0].tokens.resize(std::size_t(*rc::gen::inRange(1015, 1026)), 7); // decodes over a segment's border
  load[1].tokens.resize(1900, 9);
  compare(s, t, load);
}

} // namespace

TEST_CASE("the answer depends on nothing but prompt, model, parameters and seed") {
  test::property(
      "on the trained model", [] { hold_the_law(trained()); }, 12);
  test::property(
      "on random weights, where every layer's choice of experts is near a tie",
      [] { hold_the_law(random_weights(*rc::gen::inRange(0, 2))); }, 20);
  static const family_subjects families;
  test::property(
      "on every family that is known", [] { hold_the_law(families.any()); }, 28);
  test::property("on the trained model, with long prompts whose KV is split over decode workers",
                 hold_the_law_of_long_prompts, 5);
}
