// test/model/character_vocabulary.hpp: a small tokenizer.json whose vocabulary is of characters, as Mixtral's is.
#pragma once
#include <string>

#include <nlohmann/json.hpp>

namespace quadrant::test {

/// Ids: 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes <0x00> to <0xFF>, then ▁ a b c é, then what the merges make: ▁▁ ▁a ab ▁ab bc.
inline nlohmann::json character_vocabulary() {
  auto file = nlohmann::json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "<s>", "special": true},
                     {"id": 2, "content": "</s>", "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                   {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": null,
    "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>", "vocab": {},
              "merges": ["▁ ▁", "▁ a", "a b", "▁a b", "b c"]}})");
  auto& vocab = file["model"]["vocab"];
  const auto add = [&](const std::string& token) { vocab[token] = int(vocab.size()); };
  for (const auto* token : {"<unk>", "<s>", "</s>"}) add(token);
  for (int byte = 0; byte < 256; ++byte) {
    char token[8];
    std::snprintf(token, sizeof token, "<0x%02X>", byte);
    add(token);
  }
  for (const auto* token : {"▁", "a", "b", "c", "é", "▁▁", "▁a", "ab", "▁ab", "bc"}) add(token);
  return file;
}

constexpr int byte_0 = 3, mark = 259, letter_a = 260, letter_b = 261, letter_c = 262, letter_e = 263;
constexpr int two_marks = 264, mark_a = 265, a_b = 266, mark_a_b = 267, b_c = 268;

} // namespace quadrant::test
