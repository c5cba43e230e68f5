// actors/http/request_fields.hpp: the fields of a client's JSON object, each checked as it is read.
//
// null counts as not there. What nobody asked for is ignored, and can be named.
// Holds   the first thing that was wrong, by the name of its field; what is read after it means nothing
// Limits  JSON nested 64 deep, 2,048 members an object: finding one looks at all, and their order counts in a prompt
// Threads one owner
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "actors/http/api_error.hpp"

namespace quadrant::actors::http {

/// The JSON object that a body is, or where it stops being one. Never throws, whatever the bytes.
std::variant<nlohmann::ordered_json, api_error> parse_object(std::string_view text);

/// What a value is, for a message: a number as it stands, anything else by its kind.
std::string shown(const nlohmann::ordered_json& value);

class request_fields {
public:
  using json = nlohmann::ordered_json;
  /// `object` outlives this. `place` goes before the names of its fields: "stream_options."
  explicit request_fields(const json& object, std::string place = {}) : object_(object), place_(std::move(place)) {}

  /// absent and null are one: nullptr
  const json* find(const char* key);
  /// Notes "field must be what, not value".
  void wrong(std::string_view key, const std::string& what, const json* value = nullptr);
  /// Takes over what was wrong in a part of this.
  void take_problem(std::optional<api_error> inner) {
    if (!problem_) problem_ = std::move(inner);
  }

  bool boolean(const char* key, bool fallback);
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high, std::int64_t fallback);
  enum class low_end : std::uint8_t { inside, outside };
  float real(const char* key, double low, double high, float fallback, low_end end = low_end::inside);
  /// Not empty where it is there.
  std::string text(const char* key, const std::string& what);
  /// An object or nullptr.
  const json* object(const char* key);
  /// Whole numbers from 0 to 2^31-1, `most` at most.
  std::vector<std::int32_t> ids(const char* key, std::size_t most);

  [[nodiscard]] const std::optional<api_error>& problem() const noexcept { return problem_; }
  /// Fields that were not read. Names of the API only, "" for any other: a client's own words never reach a log.
  [[nodiscard]] std::vector<std::string_view> ignored() const;

private:
  const json& object_;
  std::string place_;
  std::vector<std::string_view> read_;
  std::optional<api_error> problem_;
};

} // namespace quadrant::actors::http
