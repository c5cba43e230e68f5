// model/json_fields.hpp: the fields of a JSON object from outside, each checked as it is read.
// Holds   the first thing that was wrong, as "file: field must be ..., not value"; later reads give fallbacks
// Threads one owner
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/result.hpp"

namespace quadrant::model {

/// Discarded where the text is no JSON. What is nested deeper than any field known here is dropped: a hostile file could
/// nest deeper than the stack.
nlohmann::json parse_shallow(std::string_view text);
/// One line, cut where it is long: what messages show of a value.
std::string shown_json(const nlohmann::json& value);
/// The same of a text, quoted.
std::string shown_text(std::string_view text);

class json_fields {
public:
  /// `object` and `file` outlive this. `prefix` goes before field names in messages.
  json_fields(const nlohmann::json& object, std::string_view file, std::string prefix = {})
      : object_(object), file_(file), prefix_(std::move(prefix)) {}

  /// The field, or null: absent and null are one.
  [[nodiscard]] const nlohmann::json* find(const char* key) const;
  /// Where null is more than silence.
  [[nodiscard]] bool has_null(const char* key) const;
  /// Without a fallback the field must be there.
  std::int32_t integer(const char* key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> fallback = std::nullopt);
  double real(const char* key, double low, double high, double fallback);
  bool boolean(const char* key, bool fallback);
  /// A whole number or a list of them, each in [0, high]; none if absent.
  std::vector<std::int32_t> integers(const char* key, std::int64_t high);
  std::vector<std::string> words(const char* key);
  /// The object in a field; empty where there is none, or something else. Its problems are its own until they are taken.
  [[nodiscard]] json_fields object(const char* key) const;
  void take_problem_of(const json_fields& inner) {
    if (!problem_) problem_ = inner.problem_;
  }

  /// Notes that `key` is wrong: the message is "file: key what, not value".
  void fail(const char* key, const std::string& what, errc code = errc::invalid_argument);
  void need(bool holds, const char* key, const std::string& what) {
    if (!holds) fail(key, what);
  }
  [[nodiscard]] const std::optional<failure>& problem() const noexcept { return problem_; }

private:
  const nlohmann::json& object_;
  std::string_view file_;
  std::string prefix_;
  std::optional<failure> problem_;
};

} // namespace quadrant::model
