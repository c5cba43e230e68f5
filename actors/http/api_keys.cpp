#include "actors/http/api_keys.hpp"

#include <algorithm>
#include <cctype>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "config/check.hpp"
#include "config/file.hpp"

namespace quadrant::actors::http {
namespace {

constexpr std::string_view space = " \t\r";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(space);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

} // namespace

auto api_keys::digest_of(std::string_view key) -> digest {
  digest to{};
  unsigned size = 0;
  QCHECK(EVP_Digest(key.data(), key.size(), to.data(), &size, EVP_sha256(), nullptr) == 1 && size == to.size());
  return to;
}

result<void> api_keys::add(std::string_view key) {
  const auto visible = [](char c) { return c > ' ' && c <= '~'; };
  if (key.empty() || !std::ranges::all_of(key, visible))
    return {errc::invalid_argument, "an API key must be one or more visible ASCII characters, without spaces"};
  digests_.push_back(digest_of(key));
  return {};
}

result<void> api_keys::add_file(const std::filesystem::path& file) {
  const auto text = read_file(file);
  if (!text) return {errc::not_found, "the API keys cannot be read from " + file.string()};
  const auto before = digests_.size();
  std::size_t number = 0;
  for (std::string_view rest = *text; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++number;
    const auto key = trimmed(line.substr(0, line.find('#')));
    if (key.empty()) continue;
    if (auto added = add(key); !added)
      return {errc::invalid_argument, file.string() + ":" + std::to_string(number) + ": " + added.error().message};
  }
  if (digests_.size() == before) return {errc::invalid_argument, "there is no API key in " + file.string()};
  return {};
}

bool api_keys::allow(std::string_view authorization) const {
  if (digests_.empty()) return true;
  constexpr std::string_view scheme = "bearer ";
  const auto same_letter = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  if (authorization.size() < scheme.size() ||
      !std::ranges::equal(authorization.substr(0, scheme.size()), scheme, same_letter))
    return false;
  const auto shown = digest_of(trimmed(authorization.substr(scheme.size())));
  bool found = false;
  for (const auto& known : digests_) // all of them: the time does not say which
    found = (CRYPTO_memcmp(known.data(), shown.data(), shown.size()) == 0) || found;
  return found;
}

bool is_world_readable(const std::filesystem::path& file) {
  std::error_code ignored;
  const auto allowed = std::filesystem::status(file, ignored).permissions();
  return !ignored && (allowed & std::filesystem::perms::others_read) != std::filesystem::perms::none;
}

} // namespace quadrant::actors::http
