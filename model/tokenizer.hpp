// model/tokenizer.hpp: BPE as a Hugging Face tokenizer.json describes it.
//
//   text -> added tokens cut out -> normalised -> pieces -> bytes or characters merged by rank -> ids
//
// A control token is an added token that is special, or is written <|like this|>. Text of a client never becomes one.
// Units   text is UTF-8 (invalid bytes count as U+FFFD); an id is a row of the embedding
// Errors  open, parse: errc::not_found; errc::corrupt: file and what is wrong; errc::unavailable: a kind of tokenizer
//         that is not BPE, or a part not known here. encode and decode cannot fail.
// Threads any, after parse
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"
#include "model/text_span.hpp"

namespace quadrant::model {

struct tokenizer_parts;

enum class special_tokens : std::uint8_t {
  parse,   ///< the text is the operator's: control tokens in it are themselves
  as_text, ///< the text is a client's: control tokens in it are letters
};

class tokenizer {
public:
  /// `path` is a tokenizer.json, or a directory that holds one.
  static result<tokenizer> open(const std::filesystem::path& path);
  /// `name` is for messages.
  static result<tokenizer> parse(std::string_view json, std::string_view name);

  /// A prompt, framed as the tokenizer's post-processor says (a bos id, for some families).
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text, special_tokens how) const;
  /// The spans as one string, except that a control token counts only where it lies wholly in trusted text.
  /// Not framed: a chat template writes its own bos.
  [[nodiscard]] std::vector<std::int32_t> encode_spans(std::span<const text_span> spans) const;

  /// UTF-8 text; bytes that form no character become U+FFFD, ids outside the vocabulary become nothing. Where encoding
  /// puts a space in front of a text, decoding takes one away.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids, bool skip_special) const;
  /// What one id says within a text: part of a character, perhaps. Valid as long as the tokenizer.
  [[nodiscard]] std::string_view bytes_of(std::int32_t id) const noexcept;
  /// What decoding takes away where a text begins: `what`, `most` times at most.
  struct text_lead {
    std::string_view what;
    std::size_t most = 0;
  };
  [[nodiscard]] text_lead lead() const noexcept; ///< valid as long as the tokenizer

  [[nodiscard]] std::int32_t vocab_size() const noexcept; ///< largest id + 1
  /// Of an added token by its content, else of a vocabulary entry by what becomes it.
  [[nodiscard]] std::optional<std::int32_t> id_of(std::string_view token) const;
  [[nodiscard]] bool is_special(std::int32_t id) const noexcept; ///< what decode skips
  [[nodiscard]] bool is_control(std::int32_t id) const noexcept; ///< what client text never becomes

private:
  friend class token_decoder;
  explicit tokenizer(std::shared_ptr<const tokenizer_parts> parts) : parts_(std::move(parts)) {}
  std::shared_ptr<const tokenizer_parts> parts_;
};

enum class text_start : std::uint8_t {
  own,      ///< a stream is a text of its own: joined, it is what decode gives
  continued ///< it goes on with another, and keeps the space that it begins with
};

/// The text of one token stream, in whole characters only. The tokenizer outlives it.
/// Threads one owner
class token_decoder {
public:
  explicit token_decoder(const tokenizer& t, bool skip_special = true, text_start start = text_start::own);

  /// The characters that `id` completes; often none.
  [[nodiscard]] std::string push(std::int32_t id);
  /// What is left when the stream ends: U+FFFD for an unfinished character, or nothing.
  [[nodiscard]] std::string flush();

private:
  const tokenizer* tokenizer_;
  bool skip_special_;
  std::size_t lead_;    ///< spaces that are still to be taken away
  std::string pending_; ///< the start of a character, at most 3 bytes
};

} // namespace quadrant::model
