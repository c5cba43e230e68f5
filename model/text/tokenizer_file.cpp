#include "model/text/tokenizer_file.hpp"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "model/text/byte_alphabet.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;

std::string shown_value(const json& value) {
  if (value.is_string()) return shown_text(std::string_view(value.get_ref<const std::string&>()));
  return value.is_structured() ? "a " + std::string(value.type_name()) : value.dump();
}

/// Reads one tokenizer.json, part after part.
class file_reader {
public:
  explicit file_reader(const file_part& root) : root_(root), model_(root.at("model")) {}

  result<tokenizer_parts> read() {
    QUADRANT_TRY(parts_.pieces, read_pretokenizer(root_.at("pre_tokenizer")));
    QUADRANT_TRY_VOID(added_tokens());
    QUADRANT_TRY_VOID(words());
    QUADRANT_TRY_VOID(merges());
    QUADRANT_TRY(parts_.normal, read_normaliser(root_.at("normalizer")));
    finders();
    QUADRANT_TRY(parts_.spoken, read_decoder(root_.at("decoder"), parts_.pieces.byte_level));
    if (parts_.spoken.changes_tokens()) spoken_words();
    QUADRANT_TRY(parts_.frame, read_post_processor(root_.at("post_processor")));
    return std::move(parts_);
  }

private:
  result<void> added_tokens() {
    const auto list = root_.at("added_tokens");
    if (!list.json().is_array() && !list.is_null()) return root_.broken("added_tokens is not a list");
    for (const auto& one : list.json()) {
      const file_part entry(one, {});
      const auto& id = entry.at("id").json();
      const auto content = entry.word("content");
      if (!is_token_id(id) || content.empty()) return root_.broken("an added token has no id or no content");
      parts_.added.push_back({.id = id.get<std::int32_t>(),
                              .content = std::string(content),
                              .single_word = entry.flag("single_word"),
                              .strip_left = entry.flag("lstrip"),
                              .strip_right = entry.flag("rstrip"),
                              .normalised = entry.flag("normalized"),
                              .special = entry.flag("special")});
    }
    std::ranges::sort(parts_.added, {}, &added_token::id);
    for (const auto& token : parts_.added)
      if (token.is_control()) control_.insert(token.content);
    const auto twice = std::ranges::adjacent_find(parts_.added, {}, &added_token::id);
    if (twice != parts_.added.end()) return root_.broken("two added tokens have id " + std::to_string(twice->id));
    return {};
  }

  result<void> words() {
    if (auto type = model_.type(); type != "BPE" && !(type.empty() && model_.at("merges").json().is_array()))
      return model_.unknown("model type " + shown_text(type), "BPE");
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!model_.word(affix).empty()) return model_.unknown(affix, "none");
    if (const auto& dropout = model_.at("dropout").json(); dropout.is_number() && dropout != 0)
      return model_.unknown("dropout", "none");

    rules_.by_character = !parts_.pieces.byte_level;
    const auto& vocab = model_.at("vocab").json();
    if (!vocab.is_object() || vocab.empty()) return model_.broken("model.vocab is not an object with tokens");
    for (const auto& [letters, id] : vocab.items()) {
      if (!is_token_id(id)) return model_.broken("token " + shown_text(letters) + " has id " + shown_value(id));
      QUADRANT_TRY_VOID(word(letters, id.get<std::int32_t>()));
    }
    for (const auto& token : parts_.added)
      parts_.words.add(token.id, token.content, /*hidden=*/true); // unless it is there
    if (model_.flag("byte_fallback") && !rules_.by_character && !has_every_byte())
      return model_.unknown("byte_fallback beside ByteLevel, of a vocabulary without every byte", "either");
    return {};
  }

  result<void> word(const std::string& letters, std::int32_t id) {
    const auto* token = parts_.find_added(id);
    if (token != nullptr && token->content != letters)
      return model_.broken("id " + std::to_string(id) + " is both an added token and another");
    const auto byte = rules_.by_character && model_.flag("byte_fallback") ? byte_of_token(letters) : std::nullopt;
    if (byte) rules_.byte_tokens[*byte] = id;
    const auto text = text_of(letters);
    const bool hidden = !text || byte || (token != nullptr && token->is_control());
    if (!parts_.words.add(id, text ? *text : letters, hidden))
      return model_.broken("id " + std::to_string(id) + " is used twice");
    return {};
  }

  [[nodiscard]] bool has_every_byte() const {
    for (int byte = 0; byte < 256; ++byte) {
      const auto letter = static_cast<char>(byte);
      if (parts_.words.find({&letter, 1}) == vocabulary::none) return false;
    }
    return true;
  }

  /// What a token of the vocabulary stands for, as text finds it; none if it is no such token.
  [[nodiscard]] std::optional<std::string> text_of(std::string_view letters) const {
    return rules_.by_character ? std::optional<std::string>(letters) : bytes_of_letters(letters);
  }

  /// Of a token as merges write it.
  [[nodiscard]] std::int32_t id_of(std::string_view letters) const {
    if (const auto byte = byte_of_token(letters); byte && rules_.byte_tokens[*byte] != vocabulary::none)
      return rules_.byte_tokens[*byte];
    const auto text = text_of(letters);
    return text ? parts_.words.find(*text) : vocabulary::none;
  }

  [[nodiscard]] bool makes_control(std::string_view letters) const { return control_.contains(letters); }

  result<void> merges() {
    const auto& list = model_.at("merges").json();
    if (!list.is_array()) return model_.broken("model.merges is not a list");
    std::string both;
    for (const auto& entry : list) {
      std::string_view left, right;
      if (entry.is_string()) {
        const std::string_view pair = entry.get_ref<const std::string&>();
        const auto space = pair.find(' ');
        if (space == std::string_view::npos) return model_.broken("merge " + shown_value(entry) + " has no space");
        left = pair.substr(0, space), right = pair.substr(space + 1);
      } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
        left = entry[0].get_ref<const std::string&>(), right = entry[1].get_ref<const std::string&>();
      } else {
        return model_.broken("a merge is neither \"a b\" nor [\"a\", \"b\"]");
      }
      both.assign(left).append(right);
      const auto a = id_of(left), b = id_of(right), merged = id_of(both);
      if (makes_control(left) || makes_control(right) || makes_control(both)) continue;
      if (a == vocabulary::none || b == vocabulary::none || merged == vocabulary::none)
        return model_.broken("merge " + shown_text(both) + " names a token that is not in the vocabulary");
      parts_.merges.add_merge(a, b, merged);
    }
    const auto unknown = model_.word("unk_token");
    if (!unknown.empty()) rules_.unknown = token_id(unknown);
    parts_.unknown_is_control = makes_control(unknown);
    rules_.fuse_unknown = model_.flag("fuse_unk");
    rules_.whole_words = model_.flag("ignore_merges");
    parts_.merges.seal(parts_.words, rules_);
    return {};
  }

  /// Of an added token or a vocabulary entry; `vocabulary::none` without one.
  [[nodiscard]] std::int32_t token_id(std::string_view content) const {
    const auto found = std::ranges::find(parts_.added, content, &added_token::content);
    return found != parts_.added.end() ? found->id : id_of(content);
  }

  void finders() {
    for (const auto& token : parts_.added) {
      if (!token.normalised) {
        parts_.before_normalisation.add(token.content, token);
        continue;
      }
      auto content = parts_.normal.apply({token.content, {token.content.size(), true}}).text;
      if (!content.empty()) parts_.after_normalisation.add(std::move(content), token);
    }
    parts_.before_normalisation.seal();
    parts_.after_normalisation.seal();
  }

  void spoken_words() {
    auto& spoken = parts_.spoken_words.emplace();
    for (std::int32_t id = 0; id < parts_.words.size(); ++id)
      if (const auto word = parts_.words.bytes(id); !word.empty())
        spoken.add(id, parts_.spoken.text_of(word), /*hidden=*/true);
  }

  file_part root_, model_;
  tokenizer_parts parts_;
  bpe::rules rules_;
  std::set<std::string, std::less<>> control_; ///< what merges may not make
};

} // namespace

const added_token* tokenizer_parts::find_added(std::int32_t id) const noexcept {
  const auto found = std::ranges::lower_bound(added, id, {}, &added_token::id);
  return found != added.end() && found->id == id ? &*found : nullptr;
}

result<tokenizer_parts> read_tokenizer_file(std::string_view text, std::string_view name) {
  const auto root = json::parse(text, nullptr, false);
  if (!root.is_object()) return {errc::corrupt, std::string(name) + ": is not a JSON object"};
  return file_reader(file_part(root, name)).read();
}

} // namespace quadrant::model
