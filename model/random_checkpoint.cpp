#include "model/random_checkpoint.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/file.hpp"
#include "config/hash.hpp"
#include "config/progress.hpp"
#include "gpu/math.hpp"
#include "model/family.hpp"
#include "model/json_fields.hpp"
#include "model/model_config.hpp"
#include "model/text/byte_alphabet.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// At the beginning of each file's header: what made it, so that only such files are ever written over.
constexpr std::string_view mark = R"({"__metadata__":{"format":"pt","made_by":"quadrant make-random 1",)";

failure cannot_write(const fs::path& file, const std::string& why) {
  return {errc::unavailable, "cannot write " + file.string() + ": " + why};
}
failure cannot_write(const fs::path& file) { return cannot_write(file, std::strerror(errno)); }

constexpr std::int32_t least_vocabulary = 256 /* bytes */ + 3 /* control tokens */;

/// Appears under its name only once it is whole.
class new_file {
public:
  explicit new_file(fs::path file) : file_(std::move(file)), part_(file_.string() + ".part") {
    out_.open(part_, std::ios::binary | std::ios::trunc);
  }
  ~new_file() { // of a file that was not finished nothing stays
    std::error_code ignored;
    fs::remove(part_, ignored);
  }
  new_file(const new_file&) = delete;
  new_file& operator=(const new_file&) = delete;
  void write(const void* data, std::size_t size) { out_.write(static_cast<const char*>(data), std::streamsize(size)); }
  [[nodiscard]] bool good() const { return out_.good(); }
  result<void> finish() {
    out_.close();
    std::error_code error;
    if (!out_.fail()) fs::rename(part_, file_, error);
    if (out_.fail() || error) return cannot_write(file_);
    return {};
  }

private:
  fs::path file_, part_;
  std::ofstream out_;
};

result<void> write_text(const fs::path& file, const std::string& text) {
  new_file out(file);
  out.write(text.data(), text.size());
  return out.finish();
}

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

/// One file of tensors.
class shard_writer {
public:
  shard_writer(fs::path file, std::span<const tensor_shape> tensors, std::uint64_t seed, float spread)
      : file_(std::move(file)), tensors_(tensors), seed_(seed), spread_(spread) {
    std::string text(mark);
    text += "\"seed\":\"" + std::to_string(seed) + "\",\"spread\":\"" + std::to_string(spread) + "\"}";
    for (const auto& t : tensors_) {
      const auto size = elements_of(t) * 2;
      const json entry{{"dtype", "BF16"}, {"shape", t.shape}, {"data_offsets", {data_bytes_, data_bytes_ + size}}};
      text += "," + json(t.name).dump() + ":" + entry.dump();
      data_bytes_ += size;
    }
    text += "}";
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t size = text.size();
    head_.assign(reinterpret_cast<const char*>(&size), sizeof size);
    head_ += text;
  }

  [[nodiscard]] std::size_t data_bytes() const { return data_bytes_; }

  /// An earlier run has written just this.
  [[nodiscard]] bool is_there() const {
    std::error_code ignored;
    if (fs::file_size(file_, ignored) != head_.size() + data_bytes_) return false;
    std::ifstream in(file_, std::ios::binary);
    std::string head(head_.size(), '\0');
    return in.read(head.data(), std::streamsize(head.size())).good() && head == head_;
  }

  template <class Wrote>
  result<void> write(Wrote wrote) {
    new_file out(file_);
    out.write(head_.data(), head_.size());
    std::vector<std::uint16_t> piece(std::size_t(1) << 20);
    for (const auto& t : tensors_) {
      number_source numbers(t, spread_, seed_);
      for (std::size_t left = elements_of(t), n = 0; left > 0; left -= n) {
        n = std::min(left, piece.size());
        numbers.fill({piece.data(), n});
        out.write(piece.data(), n * 2);
        if (!out.good()) return cannot_write(file_);
        wrote(n * 2);
      }
    }
    return out.finish();
  }

private:
  fs::path file_;
  std::span<const tensor_shape> tensors_;
  std::uint64_t seed_;
  float spread_;
  std::string head_;
  std::size_t data_bytes_ = 0;
};

/// [first, end) of each shard.
std::vector<std::pair<std::size_t, std::size_t>> cut_shards(std::span<const tensor_shape> tensors,
                                                            std::size_t shard_bytes) {
  std::vector<std::pair<std::size_t, std::size_t>> shards;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto size = elements_of(tensors[i]) * 2;
    if (shards.empty() || bytes + size > shard_bytes) {
      shards.emplace_back(i, i);
      bytes = 0;
    }
    bytes += size;
    shards.back().second = i + 1;
  }
  return shards;
}

/// A directory of ours loses what this run will not write, or has not finished; another's weights stop everything.
result<void> make_room(const fs::path& out, const std::set<std::string>& names) {
  std::error_code error;
  std::vector<fs::path> stale{out / "config.json", out / "model.safetensors.index.json"};
  for (const auto& entry : fs::directory_iterator(out, error)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::string head(sizeof(std::uint64_t) + mark.size(), '\0');
    in.read(head.data(), std::streamsize(head.size()));
    if (!std::string_view(head).substr(sizeof(std::uint64_t)).starts_with(mark))
      return {errc::invalid_argument, out.string() + " holds weights that make-random did not write (" +
                                          entry.path().filename().string() + "); name another directory"};
    if (!names.contains(entry.path().filename().string())) stale.push_back(entry.path());
  }
  for (const auto& file : stale) fs::remove(file, error);
  return {};
}

result<void> write_tensors(const random_checkpoint& wanted, std::span<const tensor_shape> tensors, float spread) {
  const auto cuts = cut_shards(tensors, wanted.shard_bytes);
  std::vector<shard_writer> shards;
  json index{{"metadata", json::object()}, {"weight_map", json::object()}};
  std::set<std::string> names;
  std::size_t total = 0, done = 0;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    char name[64] = "model.safetensors";
    if (cuts.size() > 1) std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, cuts.size());
    const auto part = tensors.subspan(cuts[i].first, cuts[i].second - cuts[i].first);
    for (const auto& t : part) index["weight_map"][t.name] = name;
    names.insert(name);
    shards.emplace_back(wanted.out / name, part, wanted.seed, spread);
    total += shards.back().data_bytes();
  }
  index["metadata"]["total_size"] = total;
  QUADRANT_TRY_VOID(make_room(wanted.out, names));
  const auto wrote = [&](std::size_t bytes) {
    done += bytes;
    progress::report("writing weights", done >> 20, total >> 20, "MiB");
  };
  for (auto& shard : shards) {
    if (shard.is_there())
      wrote(shard.data_bytes());
    else
      QUADRANT_TRY_VOID(shard.write(wrote));
  }
  if (cuts.size() > 1) QUADRANT_TRY_VOID(write_text(wanted.out / "model.safetensors.index.json", index.dump(1)));
  return {};
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
  QUADRANT_TRY_VOID(write_text(wanted.out / "tokenizer.json", text));
  const json settings{{"tokenizer_class", "Qwen2Tokenizer"},
                      {"eos_token", "<|im_end|>"},
                      {"pad_token", "<|endoftext|>"},
                      {"model_max_length", c.max_position_embeddings},
                      {"chat_template", chat_template}};
  QUADRANT_TRY_VOID(write_text(wanted.out / "tokenizer_config.json", settings.dump(1)));
  const json generation{{"eos_token_id", {ids.im_end, ids.end_of_text}}, {"do_sample", false}};
  return write_text(wanted.out / "generation_config.json", generation.dump(1));
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
  return write_text(wanted.out / "config.json", given.dump(1)); // last: with it the directory is a checkpoint
}

} // namespace quadrant::model
