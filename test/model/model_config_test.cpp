#include "model/model_config.hpp"
#include "test/model/support.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;
using nlohmann::json;

namespace {

json good() { return json::parse(read_file(default_model() / "config.json")); }

result<model_config> parse(const json& config, const std::string& generation = "null") {
  return parse_model_config(config.dump(), generation, "dir/config.json");
}

/// Is `field` set to `wrong` told in one line that names file, field and value, and says `allowed`?
void refuses(const char* field, const json& wrong, const char* allowed, errc code = errc::invalid_argument) {
  auto config = good();
  config[json::json_pointer(std::string("/") + field)] = wrong;
  const auto parsed = parse(config);
  CAPTURE(field);
  REQUIRE(!parsed.ok());
  const auto& message = parsed.error().message;
  CAPTURE(message);
  const std::string path(field);
  CHECK(parsed.error().code == code);
  CHECK(message.starts_with("dir/config.json: "));
  CHECK(message.find(path.substr(path.rfind('/') + 1)) != std::string::npos);
  CHECK(message.find(allowed) != std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
  CHECK(message.size() < 300);
}

} // namespace

TEST_CASE("model_config reads the embedded model") {
  const auto c = read_model_config(default_model());
  REQUIRE(c.ok());
  CHECK(c->family == "qwen3_moe");
  CHECK(c->hidden_size == 256);
  CHECK(c->num_layers == 6);
  CHECK(c->num_q_heads == 4);
  CHECK(c->num_kv_heads == 2);
  CHECK(c->num_experts == 32);
  CHECK(c->num_experts_per_tok == 4);
  CHECK(c->tie_word_embeddings);
  CHECK(c->eos_token_ids == std::vector<std::int32_t>{4095, 4093}); // generation_config rules
  CHECK(c->is_moe_layer(0));
}

TEST_CASE("a bad field of config.json is one line: file, field, what is allowed") {
  refuses("hidden_size", 0, "from 1 to 1048576, not 0");
  refuses("hidden_size", "256", "must be a whole number");
  refuses("hidden_size", 256.5, "must be a whole number");
  refuses("hidden_size", nullptr, "it is missing");
  refuses("hidden_size", 250, "must be a multiple of 32");
  refuses("num_hidden_layers", 1u << 31, "must be a whole number from 1 to 1024");
  refuses("num_hidden_layers", 18446744073709551615ull, "must be a whole number from 1 to 1024");
  refuses("num_attention_heads", 3, "must divide by num_key_value_heads (2)");
  refuses("head_dim", 63, "must be a multiple of 8");
  refuses("num_experts_per_tok", 33, "must be at most num_experts (32)");
  refuses("num_experts_per_tok", nullptr, "it is missing"); // none would be served without a word
  refuses("moe_intermediate_size", 100, "must be a multiple of 32");
  refuses("mlp_only_layers", json{6}, "from 0 to 5, or a list of them");
  refuses("norm_topk_prob", 1, "must be true or false");
  refuses("rms_norm_eps", "small", "must be a number");
  refuses("rope_theta", -1, "must be a number");
  refuses("vocab_size", -1, "must be a whole number");
  refuses("eos_token_id", 4096, "from 0 to 4095");
  refuses("bos_token_id", json::array({1}), "must be a whole number");
  refuses("hidden_act", "gelu", "must be \"silu\"", errc::unavailable);
  refuses("use_sliding_window", true, "must be false", errc::unavailable);
  refuses("rope_scaling", {{"type", "dynamic"}}, "must be \"default\", \"linear\"", errc::unavailable);
  refuses("rope_scaling", {{"type", "yarn"}, {"factor", 0.5}}, "factor must be a number from 1");
  refuses("rope_scaling", {{"type", "llama3"}, {"high_freq_factor", 1}}, "must be more than low_freq_factor");
  refuses("model_type", "gpt2", "known: deepseek_v2, deepseek_v3, llama", errc::unavailable);
  refuses("quantization_config", 4, "must be an object");
  refuses("quantization_config/quant_method", "gptq", "GPTQ and AWQ are not known yet", errc::unavailable);
  refuses("quantization_config", {{"quant_method", "fp8"}, {"weight_block_size", {64, 64}}}, "must be [128, 128]",
          errc::unavailable);
  refuses("quantization_config/format", "marlin", "must be \"pack-quantized\"", errc::unavailable);
  refuses("quantization_config/config_groups/group_0/weights/num_bits", 8, "must be 4", errc::unavailable);
  refuses("quantization_config/config_groups/group_0/weights/group_size", 100, "must be a multiple of 8");
  refuses("quantization_config/config_groups/group_0/weights/symmetric", false, "must be true", errc::unavailable);
  refuses("quantization_config/config_groups/group_0/weights/actorder", "group", "reordered", errc::unavailable);
}

TEST_CASE("a long wrong value is cut in the message") { refuses("hidden_size", std::string(100000, 'x'), "xxx..."); }

TEST_CASE("a value nested deeper than the stack is refused like any other") {
  const auto deep = std::string(300000, '[') + std::string(300000, ']');
  for (const char* field : {"hidden_size", "eos_token_id", "quantization_config", "rope_scaling"}) {
    auto text = good().dump();
    text.insert(1, "\"" + std::string(field) + "\": " + deep + ", "); // good()'s own comes after it
    const auto both = parse_model_config(text, "null", "f");
    CHECK((both.ok() || both.error().message.size() < 300));
    auto config = good();
    config.erase(field);
    text = config.dump();
    text.insert(1, "\"" + std::string(field) + "\": " + deep + ", ");
    const auto alone = parse_model_config(text, "null", "f");
    CHECK((alone.ok() || alone.error().message.size() < 300));
  }
}

TEST_CASE("generation_config is checked with its own name") {
  const auto wrong = parse(good(), R"({"max_new_tokens": 0})");
  REQUIRE(!wrong.ok());
  CHECK(wrong.error().message.starts_with("dir/generation_config.json: max_new_tokens must be"));
  CHECK(parse(good(), "[").error().message == "dir/generation_config.json: is not a JSON object");
  CHECK(parse(good(), R"({"max_new_tokens": 7})")->max_new_tokens == 7);
}

TEST_CASE("config.json that is no JSON object, or not there, is told so") {
  CHECK(parse_model_config("{", "null", "f").error().message == "f: is not a JSON object");
  CHECK(parse_model_config("[]", "null", "f").error().code == errc::corrupt);
  const temporary_folder folder;
  CHECK(read_model_config(folder.path()).error().code == errc::not_found);
}

TEST_CASE("rope_theta is found where either version of the library writes it") {
  auto config = good();
  config.erase("rope_theta");
  CHECK(parse(config)->rope.theta == 10000);
  config["rope_parameters"] = {{"rope_theta", 5000.0}, {"rope_type", "default"}};
  CHECK(parse(config)->rope.theta == 5000);
}

TEST_CASE("dense layers are those that sparse step and mlp_only_layers say") {
  auto config = good();
  config["decoder_sparse_step"] = 2;
  config["mlp_only_layers"] = {3};
  const auto c = parse(config);
  REQUIRE(c.ok());
  CHECK(!c->is_moe_layer(0));
  CHECK(c->is_moe_layer(1));
  CHECK(!c->is_moe_layer(3));
  CHECK(c->is_moe_layer(5));
}

TEST_CASE("the fingerprint changes with every number that changes the arithmetic") {
  const auto before = parse(good())->fingerprint();
  for (const auto& [field, value] : {std::pair<const char*, json>{"hidden_size", 512},
                                     {"num_hidden_layers", 5},
                                     {"num_experts_per_tok", 2},
                                     {"rope_theta", 10001.0},
                                     {"rms_norm_eps", 1e-5},
                                     {"norm_topk_prob", false},
                                     {"vocab_size", 4097}}) {
    auto config = good();
    config[field] = value;
    CAPTURE(field);
    CHECK(parse(config)->fingerprint() != before);
  }
}
