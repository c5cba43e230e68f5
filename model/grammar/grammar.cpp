#include "model/grammar/grammar.hpp"

#include <cstdio>
#include <string>

#include "model/grammar/json_automaton.hpp"
#include "model/grammar/token_masks.hpp"

namespace quadrant::model {
namespace {

template <byte_automaton Automaton>
class automaton_state final : public grammar_state {
public:
  automaton_state(std::shared_ptr<token_masks<Automaton>> masks, std::uint8_t leads)
      : masks_(std::move(masks)), leads_(leads) {}

  [[nodiscard]] std::unique_ptr<grammar_state> copy() const override {
    return std::make_unique<automaton_state>(*this);
  }

  bool advance(std::int32_t id) override {
    const auto& tokens = masks_->tokens();
    if (complete()) return allows(*tokens.stops(), id);
    if (!tokens.speaks(id)) return false;
    auto said = tokens.bytes(id);
    auto leads = leads_;
    for (; leads > 0 && !said.empty() && std::uint8_t(said[0]) == tokens.lead().byte; --leads) said.remove_prefix(1);
    auto next = state_;
    for (const char c : said)
      if (!next.step(std::uint8_t(c))) return false;
    state_ = next;
    leads_ = said.empty() ? leads : 0;
    return true;
  }
  [[nodiscard]] token_mask mask() const override { return masks_->of(state_, leads_); }
  [[nodiscard]] bool complete() const noexcept override { return state_.complete(); }

private:
  std::shared_ptr<token_masks<Automaton>> masks_;
  Automaton state_;
  std::uint8_t leads_; ///< that the decoder would still take away
};

template <byte_automaton Automaton>
class automaton_grammar final : public grammar {
public:
  explicit automaton_grammar(std::shared_ptr<const grammar_vocabulary> tokens)
      : masks_(std::make_shared<token_masks<Automaton>>(std::move(tokens))) {}

  [[nodiscard]] std::unique_ptr<grammar_state> start(text_start how) const override {
    const auto leads = how == text_start::own ? masks_->tokens().lead().most : std::uint8_t(0);
    return std::make_unique<automaton_state<Automaton>>(masks_, leads);
  }

private:
  std::shared_ptr<token_masks<Automaton>> masks_;
};

std::string shown(std::uint8_t byte) {
  if (byte >= 0x20 && byte < 0x7F) return {'\'', char(byte), '\''};
  char text[16];
  std::snprintf(text, sizeof text, "byte 0x%02X", byte);
  return text;
}

} // namespace

result<std::shared_ptr<const grammar>> json_object_grammar(std::shared_ptr<const grammar_vocabulary> tokens) {
  auto lacking = tokens->lacks(json_automaton::ways_out);
  if (!lacking && tokens->cuts_characters()) lacking = tokens->lacks(json_automaton::ways_out_of_character);
  if (lacking)
    return {errc::unavailable, "no token of this vocabulary is " + shown(*lacking) +
                                   " alone, so its answers cannot be held to a JSON object"};
  return std::shared_ptr<const grammar>(std::make_shared<automaton_grammar<json_automaton>>(std::move(tokens)));
}

} // namespace quadrant::model
