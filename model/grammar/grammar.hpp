// model/grammar/grammar.hpp: what a model may say next, where its answer must have a form.
//
//   grammar ─ start ─▶ grammar_state ─ mask ─▶ sampler ─ id ─▶ advance ─▶ grammar_state …
//   one a model        one a sequence
//
// A mask is never empty: while the text is not complete some token goes on with it, once it is only stop tokens end it.
// What the tokens say is read as token_decoder gives it to the client, so the client's text has the form.
// Threads grammar: any; grammar_state: one owner
#pragma once
#include <cstdint>
#include <memory>

#include "config/result.hpp"
#include "model/grammar/grammar_vocabulary.hpp"
#include "model/tokenizer.hpp"

namespace quadrant::model {

class grammar_state {
public:
  virtual ~grammar_state() = default;
  [[nodiscard]] virtual std::unique_ptr<grammar_state> copy() const = 0;

  /// Takes the next token; false, and nothing is changed, if the mask has not got it.
  virtual bool advance(std::int32_t id) = 0;
  /// The tokens that may come next.
  [[nodiscard]] virtual token_mask mask() const = 0;
  /// The text is whole; only stop tokens are left.
  [[nodiscard]] virtual bool complete() const noexcept = 0;
};

class grammar {
public:
  virtual ~grammar() = default;
  /// A text with nothing in it yet. `how` is what its decoder is told: `continued` where the client has seen text before.
  [[nodiscard]] virtual std::unique_ptr<grammar_state> start(text_start how = text_start::own) const = 0;
};

/// One JSON object, as json_automaton has it.
/// Errors  errc::unavailable: no token says alone a byte that every object may come to need
result<std::shared_ptr<const grammar>> json_object_grammar(std::shared_ptr<const grammar_vocabulary> tokens);

} // namespace quadrant::model
