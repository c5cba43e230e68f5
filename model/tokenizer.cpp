#include "model/tokenizer.hpp"

#include "config/file.hpp"
#include "model/text/tokenizer_file.hpp"
#include "model/text/utf8.hpp"

namespace quadrant::model {
namespace {

/// One text on its way through the parts.
class encoding {
public:
  explicit encoding(const tokenizer_parts& parts) : parts_(parts) {}

  std::vector<std::int32_t> ids;

  void run(const marked_text& text) {
    around_tokens(parts_.before_normalisation, text, [this](marked_text plain, bool begins) {
      plain = parts_.normal.apply(std::move(plain));
      around_tokens(parts_.after_normalisation, plain,
                    [&](const marked_text& rest, bool begins_too) { words(rest, begins && begins_too); });
    });
  }

private:
  /// Emits the tokens that `finder` finds, and hands what lies between them to `plain`, with whether `text` begins so.
  template <class Plain>
  void around_tokens(const token_finder& finder, const marked_text& text, Plain plain) {
    std::size_t done = 0;
    while (const auto found = finder.next(text, done)) {
      if (found->begin > done) plain(text.part(done, found->begin), done == 0);
      ids.push_back(found->id);
      done = found->end;
    }
    if (done == 0)
      plain(text, true);
    else if (done < text.text.size())
      plain(text.part(done, text.text.size()), false);
  }

  void words(const marked_text& text, bool begins) {
    // A client's text is no control token, even where the vocabulary has no other for it.
    const bool with_unknown = !parts_.unknown_is_control || text.trust.trusted(0, text.text.size());
    for (const auto piece : parts_.pieces.cutter.cut(text.text, begins, cutting_))
      parts_.merges.encode(parts_.words, piece, with_unknown, merging_, ids);
  }

  const tokenizer_parts& parts_;
  pretokenizer::workspace cutting_;
  bpe::workspace merging_;
};

marked_text valid_text(std::span<const text_span> spans) {
  marked_text whole;
  for (const auto& span : spans) {
    const auto before = whole.text.size();
    utf8::append_valid(span.text, whole.text);
    whole.trust.append(whole.text.size() - before, span.trusted);
  }
  return whole;
}

} // namespace

result<tokenizer> tokenizer::open(const std::filesystem::path& path) {
  const auto file = std::filesystem::is_directory(path) ? path / "tokenizer.json" : path;
  const auto text = read_file(file);
  if (!text) return {errc::not_found, "cannot read " + file.string() + "; a checkpoint needs its tokenizer.json"};
  return parse(*text, file.string());
}

result<tokenizer> tokenizer::parse(std::string_view json, std::string_view name) {
  QUADRANT_TRY(auto parts, read_tokenizer_file(json, name));
  return tokenizer(std::make_shared<const tokenizer_parts>(std::move(parts)));
}

std::vector<std::int32_t> tokenizer::encode(std::string_view text, special_tokens how) const {
  const text_span whole{text, how == special_tokens::parse};
  encoding run(*parts_);
  run.ids = parts_->frame.prefix;
  run.run(valid_text({&whole, 1}));
  run.ids.insert(run.ids.end(), parts_->frame.suffix.begin(), parts_->frame.suffix.end());
  return std::move(run.ids);
}

std::vector<std::int32_t> tokenizer::encode_spans(std::span<const text_span> spans) const {
  encoding run(*parts_);
  run.run(valid_text(spans));
  return std::move(run.ids);
}

std::string tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string bytes, text;
  for (const auto id : ids)
    if (!skip_special || !is_special(id)) bytes += bytes_of(id);
  utf8::append_valid(bytes, text);
  auto lead = parts_->spoken.most_lead;
  parts_->spoken.drop_lead(text, lead);
  return text;
}

std::string_view tokenizer::bytes_of(std::int32_t id) const noexcept {
  return parts_->spoken_words ? parts_->spoken_words->bytes(id) : parts_->words.bytes(id);
}

tokenizer::text_lead tokenizer::lead() const noexcept { return {parts_->spoken.lead, parts_->spoken.most_lead}; }

std::int32_t tokenizer::vocab_size() const noexcept { return parts_->words.size(); }

std::optional<std::int32_t> tokenizer::id_of(std::string_view token) const {
  for (const auto& added : parts_->added)
    if (added.content == token) return added.id;
  const auto id = parts_->words.find(token);
  return id == vocabulary::none ? std::nullopt : std::optional(id);
}

bool tokenizer::is_special(std::int32_t id) const noexcept {
  const auto* added = parts_->find_added(id);
  return added != nullptr && added->special;
}

bool tokenizer::is_control(std::int32_t id) const noexcept {
  const auto* added = parts_->find_added(id);
  return added != nullptr && added->is_control();
}

token_decoder::token_decoder(const tokenizer& t, bool skip_special, text_start start)
    : tokenizer_(&t), skip_special_(skip_special), lead_(start == text_start::own ? t.parts_->spoken.most_lead : 0) {}

std::string token_decoder::push(std::int32_t id) {
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  pending_ += tokenizer_->bytes_of(id);
  std::string text;
  const auto settled = utf8::settled_prefix(pending_);
  utf8::append_valid(std::string_view(pending_).substr(0, settled), text);
  pending_.erase(0, settled);
  tokenizer_->parts_->spoken.drop_lead(text, lead_);
  return text;
}

std::string token_decoder::flush() {
  std::string text;
  utf8::append_valid(pending_, text);
  pending_.clear();
  tokenizer_->parts_->spoken.drop_lead(text, lead_);
  return text;
}

} // namespace quadrant::model
