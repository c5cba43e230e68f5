#include "model/random_checkpoint.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/file.hpp"
#include "config/hash.hpp"
#include "gpu/math.hpp"
#include "model/checkpoint_writer.hpp"
#include "model/family.hpp"
#include "model/json_fields.hpp"
#include "model/model_config.hpp"
#include "model/text/byte_alphabet.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int32_t least_vocabulary = 256 /* bytes */ + 3 /* control tokens */;

std::size_t elements_of(const tensor_shape& t) {
  std::size_t n = 1;
  for (const auto d : t.shape) n *= std::size_t(d);
  return n;
}

/// bf16 numbers of one tensor, the same for the same name and seed.
class number_source {
public:
  number_source(const tensor_shape& t, float spread, std::uint64_t seed)
      : ones_(t.is_norm), unit_(spread / 32768.0f), state_(xxh3(t.name, seed)) {}

  void fill(std::span<std::uint16_t> to) {
    if (ones_) {
      std::ranges::fill(to, gpu::to_bf16(1.0f));
      return;
    }
    for (std::size_t i = 0; i < to.size(); i += 4) {
      auto z = (state_ += 0x9e3779b97f4a7c15u); // splitmix64: four numbers a word
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
      z ^= z >> 31;
      for (std::size_t j = i; j < std::min(i + 4, to.size()); ++j, z >>= 16)
        to[j] = gpu::to_bf16((float(std::int32_t(z & 0xffff)) - 32767.5f) * unit_);
    }
  }

private:
  bool ones_;
  float unit_;
  std::uint64_t state_;
};

result<void> write_tensors(const random_checkpoint& wanted, std::span<const tensor_shape> tensors, float spread) {
  checkpoint_plan plan{.out = wanted.out,
                       .made_by = "quadrant make-random 2",
                       .of = "seed " + std::to_string(wanted.seed) + ", spread " + std::to_string(spread),
                       .shard_bytes = wanted.shard_bytes,
                       .tensors = {}};
  std::map<std::string_view, const tensor_shape*> by_name;
  for (const auto& t : tensors) {
    plan.tensors.push_back({.name = t.name, .dtype = "BF16", .shape = t.shape, .bytes = elements_of(t) * 2});
    by_name[t.name] = &t;
  }
  std::vector<std::uint16_t> piece(std::size_t(1) << 20);
  return write_checkpoint(plan, [&](const planned_tensor& t, const tensor_sink& to) -> result<void> {
    number_source numbers(*by_name.at(t.name), spread, wanted.seed);
    for (std::size_t left = t.bytes / 2, n = 0; left > 0; left -= n) {
      n = std::min(left, piece.size());
      numbers.fill({piece.data(), n});
      to(std::as_bytes(std::span(piece.data(), n)));
    }
    return {};
  });
}

/// Control tokens where the configuration has its begin and end, or else at the end of the vocabulary.
control_ids control_of(const model_config& c) {
  std::set<std::int32_t> taken;
  const auto take = [&](std::optional<std::int32_t> wish) {
    auto id = wish.value_or(c.vocab_size - 1);
    while (taken.contains(id)) id = id == 0 ? c.vocab_size - 1 : id - 1;
    taken.insert(id);
    return id;
  };
  control_ids ids{};
  ids.im_end = take(c.eos_token_ids.empty() ? std::nullopt : std::optional(c.eos_token_ids[0]));
  ids.im_start = take(c.bos_token_id);
  ids.end_of_text = take(c.eos_token_ids.size() > 1 ? std::optional(c.eos_token_ids[1]) : std::nullopt);
  return ids;
}

constexpr const char* chat_template =
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

result<void> write_tokenizer(const random_checkpoint& wanted, const fs::path& from, const model_config& c) {
  std::error_code error;
  if (fs::exists(from / "tokenizer.json", error)) {
    for (const auto* name :
         {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"})
      if (fs::exists(from / name, error) && !fs::equivalent(from, wanted.out, error))
        if (!fs::copy_file(from / name, wanted.out / name, fs::copy_options::overwrite_existing, error))
          return cannot_write(wanted.out / name, error.message() + ", from " + (from / name).string());
    return {};
  }
  if (c.vocab_size < least_vocabulary) return {}; // such a model takes token ids only
  const auto ids = control_of(c);
  QUADRANT_TRY(const auto text, byte_level_tokenizer(c.vocab_size, ids));
  QUADRANT_TRY_VOID(write_text_file(wanted.out / "tokenizer.json", text));
  const json settings{{"tokenizer_class", "Qwen2Tokenizer"},
                      {"eos_token", "<|im_end|>"},
                      {"pad_token", "<|endoftext|>"},
                      {"model_max_length", c.max_position_embeddings},
                      {"chat_template", chat_template}};
  QUADRANT_TRY_VOID(write_text_file(wanted.out / "tokenizer_config.json", settings.dump(1)));
  const json generation{{"eos_token_id", {ids.im_end, ids.end_of_text}}, {"do_sample", false}};
  return write_text_file(wanted.out / "generation_config.json", generation.dump(1));
}

} // namespace

result<std::string> byte_level_tokenizer(std::int32_t vocab, control_ids control) {
  if (vocab < least_vocabulary)
    return {errc::invalid_argument, "a byte-level tokenizer needs a vocab_size of at least " +
                                        std::to_string(least_vocabulary) + ", not " + std::to_string(vocab)};
  json words = json::object(), merges = json::array(), added = json::array();
  std::vector<std::string> grow; ///< words that longer ones are made of, each with every letter in turn
  for (char letter = 'a'; letter <= 'z'; ++letter) grow.emplace_back(1, letter);
  std::size_t next = 0;
  char letter = 'a';
  std::int32_t bytes = 0;
  for (std::int32_t id = 0; id < vocab; ++id) {
    if (id == control.im_end || id == control.im_start || id == control.end_of_text) {
      const char* content = id == control.im_end     ? "<|im_end|>"
                            : id == control.im_start ? "<|im_start|>"
                                                     : "<|endoftext|>";
      added.push_back({{"id", id},
                       {"content", content},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
    } else if (bytes < 256) {
      words[letter_of_byte(std::uint8_t(bytes++))] = id;
    } else {
      const auto word = grow[next] + letter;
      words[word] = id;
      merges.push_back(grow[next] + " " + letter);
      grow.push_back(word);
      if (letter++ == 'z') letter = 'a', ++next;
    }
  }
  const json level{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  const json cut{{"type", "Split"},
                 {"pattern", {{"Regex", R"( ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+)"}}},
                 {"behavior", "Isolated"},
                 {"invert", false}};
  json file;
  file["version"] = "1.0";
  file["truncation"] = nullptr;
  file["padding"] = nullptr;
  file["added_tokens"] = added;
  file["normalizer"] = {{"type", "NFC"}};
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {cut, level}}};
  file["post_processor"] = level;
  file["decoder"] = level;
  file["model"] = {{"type", "BPE"},          {"dropout", nullptr},     {"unk_token", nullptr}, {"fuse_unk", false},
                   {"byte_fallback", false}, {"ignore_merges", false}, {"vocab", words},       {"merges", merges}};
  return file.dump();
}

result<void> write_random_checkpoint(const random_checkpoint& wanted) {
  std::error_code error;
  const auto file = fs::is_directory(wanted.like, error) ? wanted.like / "config.json" : wanted.like;
  const auto text = read_file(file);
  if (!text) return {errc::not_found, "cannot read " + file.string() + "; --like wants a config.json"};
  auto given = parse_shallow(*text);
  if (given.is_object()) given.erase("quantization_config"); // of other weights than these
  const auto name = file.string();
  QUADRANT_TRY(const auto config, parse_model_config(given.is_object() ? given.dump() : *text, "null", name));
  json_fields read(given, name);
  const auto range = read.real("initializer_range", 1e-6, 1, 0.02);
  if (read.problem()) return *read.problem();
  fs::create_directories(wanted.out, error);
  if (error) return cannot_write(wanted.out, error.message());
  if (fs::equivalent(file, wanted.out / "config.json", error))
    return {errc::invalid_argument,
            wanted.out.string() + " is where --like's config.json lies; name another directory"};
  const auto tensors = tensors_of(config);
  QUADRANT_TRY_VOID(write_tensors(wanted, tensors, std::sqrt(3.0f) * float(range)));
  QUADRANT_TRY_VOID(write_tokenizer(wanted, file.parent_path().empty() ? "." : file.parent_path(), config));
  return write_text_file(wanted.out / "config.json", given.dump(1)); // last: with it the directory is a checkpoint
}

} // namespace quadrant::model
