#include "model/text/tokenizer_file.hpp"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "model/json_fields.hpp"
#include "model/text/byte_alphabet.hpp"
#include "model/text/nfc.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;

constexpr std::int32_t max_id = 1 << 20; // the largest vocabularies have a quarter of that

std::string shown_value(const json& value) {
  if (value.is_string()) return shown_text(std::string_view(value.get_ref<const std::string&>()));
  return value.is_structured() ? "a " + std::string(value.type_name()) : value.dump();
}

/// Reads one tokenizer.json, part after part.
class file_reader {
public:
  file_reader(const json& root, std::string_view name) : root_(root), name_(name) {}

  result<tokenizer_parts> read() {
    QUADRANT_TRY_VOID(added_tokens());
    QUADRANT_TRY_VOID(words());
    QUADRANT_TRY_VOID(merges());
    QUADRANT_TRY_VOID(normaliser(at(root_, "normalizer")));
    QUADRANT_TRY_VOID(finders());
    QUADRANT_TRY_VOID(cutter(at(root_, "pre_tokenizer")));
    if (!byte_level_) return unknown("pre_tokenizer without ByteLevel", "byte-level BPE");
    QUADRANT_TRY_VOID(decoder(at(root_, "decoder")));
    QUADRANT_TRY_VOID(post_processor(at(root_, "post_processor")));
    return std::move(parts_);
  }

private:
  static const json& at(const json& object, const char* key) {
    static const json null;
    const auto found = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && found != object.end() ? *found : null;
  }
  static std::string_view word(const json& object, const char* key) {
    const auto& value = at(object, key);
    return value.is_string() ? std::string_view(value.get_ref<const std::string&>()) : std::string_view();
  }
  static bool flag(const json& object, const char* key, bool fallback = false) {
    const auto& value = at(object, key);
    return value.is_boolean() ? value.get<bool>() : fallback;
  }
  static bool is_id(const json& value) { return value.is_number_unsigned() && value.get<std::uint64_t>() < max_id; }

  [[nodiscard]] failure broken(const std::string& what) const {
    return {errc::corrupt, std::string(name_) + ": " + what};
  }
  [[nodiscard]] failure unknown(const std::string& what, const std::string& known) const {
    return {errc::unavailable, std::string(name_) + ": " + what + " is not supported; known: " + known};
  }

  result<void> added_tokens() {
    const auto& list = at(root_, "added_tokens");
    if (!list.is_array() && !list.is_null()) return broken("added_tokens is not a list");
    for (const auto& entry : list) {
      const auto& id = at(entry, "id");
      const auto content = word(entry, "content");
      if (!is_id(id) || content.empty()) return broken("an added token has no id or no content");
      parts_.added.push_back({.id = id.get<std::int32_t>(),
                              .content = std::string(content),
                              .single_word = flag(entry, "single_word"),
                              .strip_left = flag(entry, "lstrip"),
                              .strip_right = flag(entry, "rstrip"),
                              .normalised = flag(entry, "normalized"),
                              .special = flag(entry, "special")});
    }
    std::ranges::sort(parts_.added, {}, &added_token::id);
    for (const auto& token : parts_.added)
      if (token.is_control()) control_.insert(token.content);
    const auto twice = std::ranges::adjacent_find(parts_.added, {}, &added_token::id);
    if (twice != parts_.added.end()) return broken("two added tokens have id " + std::to_string(twice->id));
    return {};
  }

  result<void> words() {
    const auto& model = at(root_, "model");
    if (auto type = word(model, "type"); type != "BPE" && !(type.empty() && at(model, "merges").is_array()))
      return unknown("model type " + shown_text(type), "BPE");
    if (flag(model, "byte_fallback")) return unknown("byte_fallback", "byte-level BPE");
    for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!word(model, affix).empty()) return unknown(affix, "none");
    if (const auto& dropout = at(model, "dropout"); dropout.is_number() && dropout != 0)
      return unknown("dropout", "none");

    const auto& vocab = at(model, "vocab");
    if (!vocab.is_object() || vocab.empty()) return broken("model.vocab is not an object with tokens");
    for (const auto& [letters, id] : vocab.items()) {
      if (!is_id(id)) return broken("token " + shown_text(letters) + " has id " + shown_value(id));
      const auto number = id.get<std::int32_t>();
      const auto* token = parts_.find_added(number);
      if (token != nullptr && token->content != letters)
        return broken("id " + id.dump() + " is both an added token and another");
      const auto bytes = bytes_of_letters(letters);
      const bool hidden = !bytes || (token != nullptr && token->is_control());
      if (!parts_.words.add(number, bytes ? *bytes : letters, hidden))
        return broken("id " + id.dump() + " is used twice");
    }
    for (const auto& token : parts_.added)
      parts_.words.add(token.id, token.content, /*hidden=*/true); // unless it is there
    return {};
  }

  /// Of a token as merges write it.
  [[nodiscard]] std::int32_t id_of(std::string_view letters) const {
    const auto bytes = bytes_of_letters(letters);
    return bytes ? parts_.words.find(*bytes) : vocabulary::none;
  }

  [[nodiscard]] bool makes_control(std::string_view letters) const { return control_.contains(letters); }

  result<void> merges() {
    const auto& model = at(root_, "model");
    const auto& list = at(model, "merges");
    if (!list.is_array()) return broken("model.merges is not a list");
    std::string both;
    for (const auto& entry : list) {
      std::string_view left, right;
      if (entry.is_string()) {
        const std::string_view pair = entry.get_ref<const std::string&>();
        const auto space = pair.find(' ');
        if (space == std::string_view::npos) return broken("merge " + shown_value(entry) + " has no space");
        left = pair.substr(0, space), right = pair.substr(space + 1);
      } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
        left = entry[0].get_ref<const std::string&>(), right = entry[1].get_ref<const std::string&>();
      } else {
        return broken("a merge is neither \"a b\" nor [\"a\", \"b\"]");
      }
      both.assign(left).append(right);
      const auto a = id_of(left), b = id_of(right), merged = id_of(both);
      if (makes_control(left) || makes_control(right) || makes_control(both)) continue;
      if (a == vocabulary::none || b == vocabulary::none || merged == vocabulary::none)
        return broken("merge " + shown_text(both) + " names a token that is not in the vocabulary");
      parts_.merges.add_merge(a, b, merged);
    }
    const auto unknown_token = word(model, "unk_token");
    // Bytes that the vocabulary lacks become this one, unless a client's text would be a control token then.
    const auto unknown_id =
        unknown_token.empty() || makes_control(unknown_token) ? vocabulary::none : token_id(unknown_token);
    parts_.merges.seal(parts_.words, flag(model, "ignore_merges"), unknown_id);
    return {};
  }

  /// Of an added token or a vocabulary entry; `vocabulary::none` without one.
  [[nodiscard]] std::int32_t token_id(std::string_view content) const {
    const auto found = std::ranges::find(parts_.added, content, &added_token::content);
    return found != parts_.added.end() ? found->id : id_of(content);
  }

  /// The parts of a Sequence.
  template <class Visit>
  result<void> each(const json& list, Visit visit) {
    if (++depth_ > 8) return broken("has a Sequence in a Sequence, too deep");
    for (const auto& inner : list) QUADRANT_TRY_VOID(visit(inner));
    --depth_;
    return {};
  }

  result<void> normaliser(const json& part) {
    const auto type = word(part, "type");
    if (type == "Sequence" && at(part, "normalizers").is_array())
      return each(at(part, "normalizers"), [this](const json& inner) { return normaliser(inner); });
    if (type == "NFC")
      parts_.normalises = true;
    else if (!part.is_null())
      return unknown("normalizer " + shown_text(type), "NFC, Sequence");
    return {};
  }

  result<void> finders() {
    for (const auto& token : parts_.added) {
      if (!token.normalised) {
        parts_.before_normalisation.add(token.content, token);
        continue;
      }
      auto content = parts_.normalises ? nfc({token.content, {token.content.size(), true}}).text : token.content;
      parts_.after_normalisation.add(std::move(content), token);
    }
    parts_.before_normalisation.seal();
    parts_.after_normalisation.seal();
    return {};
  }

  result<void> add_split(const std::string& pattern, pretokenizer::delimiter behaviour, bool invert) {
    auto compiled = regex::compile(pattern);
    if (!compiled) return {compiled.error().code, std::string(name_) + ": " + compiled.error().message};
    parts_.cutter.add(pretokenizer::split{std::move(*compiled), behaviour, invert});
    return {};
  }

  result<void> split(const json& part) {
    const auto& pattern = at(part, "pattern");
    std::string text(word(pattern, "Regex"));
    if (const auto literal = word(pattern, "String"); !literal.empty()) text = "\\Q" + std::string(literal) + "\\E";
    if (text.empty() || text.find("\\E") != text.rfind("\\E")) return broken("a Split has no usable pattern");
    const auto behaviour = word(part, "behavior");
    if (behaviour != "Isolated" && behaviour != "Removed")
      return unknown("Split behavior " + shown_text(behaviour), "Isolated, Removed");
    return add_split(text,
                     behaviour == "Isolated" ? pretokenizer::delimiter::isolated : pretokenizer::delimiter::removed,
                     flag(part, "invert"));
  }

  result<void> cutter(const json& part) {
    const auto type = word(part, "type");
    if (type == "Sequence" && at(part, "pretokenizers").is_array())
      return each(at(part, "pretokenizers"), [this](const json& inner) { return cutter(inner); });
    // After it a piece is letters of the byte alphabet, not text.
    if (byte_level_) return unknown("a pre_tokenizer after ByteLevel", "ByteLevel last");
    if (type == "Split") return split(part);
    if (type == "Digits")
      return add_split(flag(part, "individual_digits") ? R"(\p{N})" : R"(\p{N}+)", pretokenizer::delimiter::isolated,
                       false);
    if (type != "ByteLevel") return unknown("pre_tokenizer " + shown_text(type), "Sequence, Split, Digits, ByteLevel");
    byte_level_ = true;
    if (flag(part, "add_prefix_space", true)) parts_.cutter.prefix_space();
    if (!flag(part, "use_regex", true)) return {};
    return add_split(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                     pretokenizer::delimiter::isolated, false);
  }

  result<void> decoder(const json& part) {
    const auto type = word(part, "type");
    if (part.is_null() || type == "ByteLevel") return {};
    return unknown("decoder " + shown_text(type), "ByteLevel");
  }

  result<void> post_processor(const json& part) {
    const auto type = word(part, "type");
    if (part.is_null() || type == "ByteLevel") return {};
    if (type == "Sequence" && at(part, "processors").is_array())
      return each(at(part, "processors"), [this](const json& inner) { return post_processor(inner); });
    if (type != "TemplateProcessing")
      return unknown("post_processor " + shown_text(type), "ByteLevel, TemplateProcessing, Sequence");
    bool after_text = false;
    for (const auto& piece : at(part, "single")) {
      if (at(piece, "Sequence").is_object()) {
        after_text = true;
        continue;
      }
      const auto token = word(at(piece, "SpecialToken"), "id");
      const auto& ids = at(at(at(part, "special_tokens"), std::string(token).c_str()), "ids");
      if (!ids.is_array() || !std::ranges::all_of(ids, is_id))
        return broken("post_processor names a token without ids");
      for (const auto& id : ids) (after_text ? parts_.suffix : parts_.prefix).push_back(id.get<std::int32_t>());
    }
    if (!after_text) return broken("post_processor leaves out the text");
    return {};
  }

  const json& root_;
  std::string_view name_;
  tokenizer_parts parts_;
  std::set<std::string, std::less<>> control_; ///< what merges may not make
  bool byte_level_ = false;
  int depth_ = 0; ///< of Sequences
};

} // namespace

const added_token* tokenizer_parts::find_added(std::int32_t id) const noexcept {
  const auto found = std::ranges::lower_bound(added, id, {}, &added_token::id);
  return found != added.end() && found->id == id ? &*found : nullptr;
}

result<tokenizer_parts> read_tokenizer_file(std::string_view text, std::string_view name) {
  const auto root = json::parse(text, nullptr, false);
  if (!root.is_object()) return {errc::corrupt, std::string(name) + ": is not a JSON object"};
  return file_reader(root, name).read();
}

} // namespace quadrant::model
