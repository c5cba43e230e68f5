// model/text/file_part.hpp: one value of a tokenizer.json: its fields by name, and messages that name the file.
// Errors  errc::corrupt, errc::unavailable: the file and what is wrong, in one line
// Threads any; file and name outlive it
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/result.hpp"
#include "model/json_fields.hpp"

namespace quadrant::model {

constexpr std::int32_t max_token_id = 1 << 20; // the largest vocabularies have a quarter of that

inline bool is_token_id(const nlohmann::json& value) {
  return value.is_number_unsigned() && value.get<std::uint64_t>() < std::uint64_t(max_token_id);
}

class file_part {
public:
  file_part(const nlohmann::json& value, std::string_view file) : value_(&value), file_(file) {}

  [[nodiscard]] const nlohmann::json& json() const noexcept { return *value_; }
  [[nodiscard]] bool is_null() const noexcept { return value_->is_null(); }

  /// A field; null where there is none.
  [[nodiscard]] file_part at(std::string_view key) const {
    static const nlohmann::json null;
    if (!value_->is_object()) return {null, file_};
    const auto found = value_->find(key);
    return {found != value_->end() ? *found : null, file_};
  }
  /// A field that is a string; empty where it is none.
  [[nodiscard]] std::string_view word(std::string_view key) const {
    const auto& value = at(key).json();
    return value.is_string() ? std::string_view(value.get_ref<const std::string&>()) : std::string_view();
  }
  [[nodiscard]] bool flag(std::string_view key, bool fallback = false) const {
    const auto& value = at(key).json();
    return value.is_boolean() ? value.get<bool>() : fallback;
  }
  [[nodiscard]] std::string_view type() const { return word("type"); }

  /// What is done one after the other: nothing if this is null, the parts of a Sequence under `list`, else itself.
  [[nodiscard]] result<std::vector<file_part>> steps(std::string_view list) const {
    std::vector<file_part> all;
    if (!add_steps(list, 0, all)) return broken("has a Sequence in a Sequence, too deep");
    return all;
  }

  [[nodiscard]] failure broken(const std::string& what) const {
    return {errc::corrupt, std::string(file_) + ": " + what};
  }
  [[nodiscard]] failure unknown(const std::string& what, const std::string& known) const {
    return {errc::unavailable, std::string(file_) + ": " + what + " is not supported; known: " + known};
  }
  [[nodiscard]] failure in_file(const failure& why) const {
    return {why.code, std::string(file_) + ": " + why.message};
  }

private:
  bool add_steps(std::string_view list, int depth, std::vector<file_part>& to) const {
    if (depth > 8) return false;
    if (is_null()) return true;
    const auto inner = at(list);
    if (type() != "Sequence" || !inner.json().is_array()) return to.push_back(*this), true;
    for (const auto& one : inner.json())
      if (!file_part(one, file_).add_steps(list, depth + 1, to)) return false;
    return true;
  }

  const nlohmann::json* value_;
  std::string_view file_;
};

} // namespace quadrant::model
