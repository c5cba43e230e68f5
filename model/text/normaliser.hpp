// model/text/normaliser.hpp: what is done to text before it is cut into pieces: form C, text put in front, replacements.
// Every byte keeps its trust: what is put in front has that of the byte behind it, a replacement that of all it replaces.
// Threads any, once filled
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "model/text/regex.hpp"
#include "model/text/trust_map.hpp"

namespace quadrant::model {

class normaliser {
public:
  struct form_c {};
  struct prefix { ///< of text that is not empty
    std::string text;
  };
  struct replacement {
    regex pattern;
    std::string text;
  };
  using step = std::variant<form_c, prefix, replacement>;

  /// Steps are taken in the order of these calls.
  void add(step s) { steps_.push_back(std::move(s)); }
  [[nodiscard]] bool changes_nothing() const noexcept { return steps_.empty(); }

  /// `text` is valid UTF-8.
  [[nodiscard]] marked_text apply(marked_text text) const;

private:
  std::vector<step> steps_;
};

} // namespace quadrant::model
