#include "model/bench/model_bench.hpp"
#include "model/family.hpp"
#include "model/random_checkpoint.hpp"
#include "model/tokenizer.hpp"
#include "test/model/support.hpp"
#include "test/model/tiny_checkpoint.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;
namespace fs = std::filesystem;

namespace {

/// A configuration of a few thousand weights, one layer dense.
std::string small_config(int vocab = 400) {
  return nlohmann::json{{"model_type", "qwen3_moe"},
                        {"hidden_size", 64},
                        {"num_hidden_layers", 2},
                        {"num_attention_heads", 2},
                        {"num_key_value_heads", 1},
                        {"head_dim", 32},
                        {"num_experts", 4},
                        {"num_experts_per_tok", 2},
                        {"moe_intermediate_size", 32},
                        {"intermediate_size", 96},
                        {"mlp_only_layers", {1}},
                        {"vocab_size", vocab},
                        {"eos_token_id", 7},
                        {"bos_token_id", 300},
                        {"attention_bias", true},
                        {"max_position_embeddings", 512},
                        {"quantization_config", {{"quant_method", "of other weights"}}}}
      .dump();
}

std::map<std::string, std::string> files_of(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(directory))
    files[entry.path().filename().string()] = read_file(entry.path());
  return files;
}

} // namespace

TEST_CASE("a random checkpoint loads, is the same for the same seed, and another for another") {
  const temporary_folder folder;
  write_file(folder.path() / "config.json", small_config());
  const auto write = [&](const char* name, std::uint64_t seed, std::size_t shard_bytes) {
    const auto done = write_random_checkpoint(
        {.like = folder.path() / "config.json", .out = folder.path() / name, .seed = seed, .shard_bytes = shard_bytes});
    REQUIRE_MESSAGE(done.ok(), done.error().message);
    return files_of(folder.path() / name);
  };
  const auto one = write("a", 3, std::size_t(1) << 30);
  CHECK(one.size() == 5);
  CHECK(one == write("b", 3, std::size_t(1) << 30));
  CHECK(one.at("model.safetensors") != write("c", 4, std::size_t(1) << 30).at("model.safetensors"));

  const auto many = write("d", 3, 20'000);
  CHECK(many.contains("model.safetensors.index.json"));
  CHECK(many.size() > 8);
  for (const auto* name : {"a", "d"}) {
    auto config = read_model_config(folder.path() / name);
    REQUIRE_MESSAGE(config.ok(), config.error().message);
    auto files = checkpoint_files::open(folder.path() / name);
    REQUIRE_MESSAGE(files.ok(), files.error().message);
    CHECK(files->names().size() == tensors_of(*config).size());
    weight_cache weights(std::make_shared<checkpoint_files>(std::move(*files)), *config,
                         gpu::numerics_of(gpu::precision::w4a8));
    const auto loaded = load_shard(weights, {.first_layer = 0, .end_layer = 2}, 4);
    CHECK_MESSAGE(loaded.ok(), loaded.error().message);
  }
}

TEST_CASE("a random checkpoint that was cut short is finished, and what is whole is kept") {
  const temporary_folder folder;
  write_file(folder.path() / "config.json", small_config());
  random_checkpoint wanted{.like = folder.path(), .out = folder.path() / "out", .seed = 1, .shard_bytes = 20'000};
  REQUIRE(write_random_checkpoint(wanted).ok());
  const auto whole = files_of(wanted.out);
  std::vector<fs::path> shards;
  for (const auto& [name, text] : whole)
    if (name.ends_with(".safetensors")) shards.push_back(wanted.out / name);
  REQUIRE(shards.size() > 2);
  fs::resize_file(shards[0], 100);
  fs::remove(shards[1]);
  const auto kept_since = fs::last_write_time(shards[2]);
  REQUIRE(write_random_checkpoint(wanted).ok());
  CHECK(files_of(wanted.out) == whole);
  CHECK(fs::last_write_time(shards[2]) == kept_since);
  wanted.seed = 2; // another seed's file is not what is wanted
  REQUIRE(write_random_checkpoint(wanted).ok());
  CHECK(read_file(shards[2]) != whole.at(shards[2].filename().string()));
}

TEST_CASE("a random checkpoint's tokenizer knows every byte and its control tokens") {
  const temporary_folder folder;
  write_file(folder.path() / "config.json", small_config());
  REQUIRE(write_random_checkpoint({.like = folder.path(), .out = folder.path() / "out"}).ok());
  const auto t = tokenizer::open(folder.path() / "out");
  REQUIRE_MESSAGE(t.ok(), t.error().message);
  for (const std::string text : {"hello world", "naïve \t 漢字 \xF0\x9F\x8E\xBB", "abcabc zz"}) {
    const auto ids = t->encode(text, special_tokens::as_text);
    CHECK(t->decode(ids, false) == text);
  }
  CHECK(t->encode("ab", special_tokens::as_text).size() == 1); // a word of its own
  CHECK(t->encode("<|im_end|><|im_start|>", special_tokens::parse) == std::vector<std::int32_t>{7, 300});
  CHECK(byte_level_tokenizer(258, {257, 256, 255}).error().code == errc::invalid_argument);
}

TEST_CASE("a random checkpoint cannot be like nothing, or written where nobody may") {
  const temporary_folder folder;
  CHECK(write_random_checkpoint({.like = folder.path(), .out = folder.path() / "out"}).error().code == errc::not_found);
  write_file(folder.path() / "config.json", "{}");
  CHECK(write_random_checkpoint({.like = folder.path(), .out = folder.path() / "out"}).error().code ==
        errc::unavailable);
  write_file(folder.path() / "config.json", small_config());
  write_file(folder.path() / "file", "");
  const auto refused = write_random_checkpoint({.like = folder.path(), .out = folder.path() / "file" / "out"});
  CHECK(refused.error().code == errc::unavailable);
  CHECK(refused.error().message.find("cannot write") != std::string::npos);

  const auto out = folder.path() / "out"; // weights of another are never written over
  fs::create_directories(out);
  write_file(out / "model.safetensors", "somebody's");
  CHECK(write_random_checkpoint({.like = folder.path(), .out = out}).error().code == errc::invalid_argument);
  CHECK(read_file(out / "model.safetensors") == "somebody's");
  CHECK(write_random_checkpoint({.like = folder.path(), .out = folder.path()}).error().code == errc::invalid_argument);
  CHECK(read_file(folder.path() / "config.json") == small_config());
}

TEST_CASE("a random checkpoint takes whatever a configuration may say, or says what is wrong with it") {
  const temporary_folder folder;
  const auto with = [&](const char* key, const nlohmann::json& value) {
    auto config = nlohmann::json::parse(small_config());
    config[key] = value;
    write_file(folder.path() / "config.json", config.dump());
    return write_random_checkpoint({.like = folder.path(), .out = folder.path() / "out"});
  };
  for (const int vocab : {301, 1}) { // 1: too few for a tokenizer
    auto config = nlohmann::json::parse(small_config(vocab));
    if (vocab == 1) config.erase("eos_token_id"), config.erase("bos_token_id");
    write_file(folder.path() / "config.json", config.dump());
    const auto done = write_random_checkpoint(
        {.like = folder.path(), .out = folder.path() / ("vocabulary " + std::to_string(vocab))});
    CHECK_MESSAGE(done.ok(), done.error().message);
  }
  CHECK(with("initializer_range", 0.5).ok());
  CHECK(with("initializer_range", "wide").error().code == errc::invalid_argument);
  CHECK(with("initializer_range", -1).error().code == errc::invalid_argument);
  CHECK(with("initializer_range", nullptr).ok());
  std::string deep = small_config();
  deep.insert(1, "\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + ",");
  write_file(folder.path() / "config.json", deep);
  CHECK(write_random_checkpoint({.like = folder.path(), .out = folder.path() / "deep"}).ok());
}

TEST_CASE("a smaller random checkpoint in the place of a larger one leaves nothing of it") {
  const temporary_folder folder;
  write_file(folder.path() / "config.json", small_config());
  const auto out = folder.path() / "out";
  REQUIRE(write_random_checkpoint({.like = folder.path(), .out = out, .seed = 1, .shard_bytes = 20'000}).ok());
  REQUIRE(write_random_checkpoint({.like = folder.path(), .out = out, .seed = 2}).ok());
  CHECK(!fs::exists(out / "model.safetensors.index.json"));
  REQUIRE(write_random_checkpoint({.like = folder.path(), .out = folder.path() / "fresh", .seed = 2}).ok());
  CHECK(files_of(out) == files_of(folder.path() / "fresh"));
}

TEST_CASE("what a token costs is what is loaded") {
  const tiny_checkpoint tiny(5);
  for (const auto precision : {gpu::precision::f32, gpu::precision::w8a8, gpu::precision::w4a8}) {
    const auto weights = tiny.load(precision);
    const auto loaded = load_shard(*weights, {.first_layer = 0, .end_layer = tiny_checkpoint::num_layers}, 4);
    REQUIRE(loaded.ok());
    const auto& s = **loaded;
    const auto bytes = [](const weight_ref& w) { return double(w->data.size() + w->scale.size()); };
    double always = bytes(s.weights.head), operations = 0;
    for (std::size_t layer = 0; layer < s.ffn.size(); ++layer) {
      const auto& w = s.weights.layers[layer];
      always += bytes(w.qkv) + bytes(w.o) +
                (w.gate ? bytes(w.gate) : bytes(s.ffn[layer].gate_up[0]) + bytes(s.ffn[layer].down[0]));
      const auto macs = [](const weight_ref& m) { return double(m->in) * m->out; };
      operations += 2 * (macs(w.qkv) + macs(w.o) + (w.gate ? macs(w.gate) : 0) +
                         (w.gate ? 2 : 1) * (macs(s.ffn[layer].gate_up[0]) + macs(s.ffn[layer].down[0]))); // top 2
    }
    const auto cost = bench::cost_of(s.config, s.numerics);
    CHECK(cost.always_bytes == always);
    CHECK(cost.expert_bytes == bytes(s.ffn[0].gate_up[0]) + bytes(s.ffn[0].down[0]));
    CHECK(cost.linear_operations == operations);
    CHECK(cost.head_operations == 2.0 * s.weights.head->in * s.weights.head->out);
    CHECK(cost.pair_operations == 4.0 * s.config.num_layers * s.config.num_q_heads * s.config.head_dim);
    CHECK(cost.kv_bytes == 2.0 * s.config.num_layers * s.config.num_kv_heads * double(s.kv.k_row_bytes()));
  }
}
