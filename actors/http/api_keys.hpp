// actors/http/api_keys.hpp: who may ask: the keys that a client must show one of, as `Authorization: Bearer KEY`.
// No key: everybody may.
//
// Kept as digests. A key that is shown is compared with all of them, in a time that says nothing about any.
// Threads any, once filled
#pragma once
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"

namespace quadrant::actors::http {

class api_keys {
public:
  /// Errors  errc::invalid_argument: it is empty, or holds what no head can
  result<void> add(std::string_view key);
  /// One a line; empty lines and what follows a # are none.
  /// Errors  errc::not_found: no such file; errc::invalid_argument: a line is no key, or there is none
  result<void> add_file(const std::filesystem::path& file);

  [[nodiscard]] bool empty() const noexcept { return digests_.empty(); }
  /// authorization: the field as it came
  [[nodiscard]] bool allow(std::string_view authorization) const;

private:
  using digest = std::array<unsigned char, 32>;
  static digest digest_of(std::string_view key);
  std::vector<digest> digests_;
};

/// May every user of this machine read the file?
bool is_world_readable(const std::filesystem::path& file);

} // namespace quadrant::actors::http
