#include "actors/loadgen/target.hpp"

#include <algorithm>
#include <charconv>

namespace quadrant::actors::loadgen {
namespace {

bool printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 127; });
}

} // namespace

std::string target::authority() const {
  return (host.find(':') == host.npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

std::string target::url() const { return (tls ? "https://" : "http://") + authority() + prefix; }

result<target> parse_url(std::string_view url, std::string key) {
  const failure wrong{errc::invalid_argument,
                      "expected the address of a server, like http://127.0.0.1:8080, not '" + std::string(url) + "'"};
  if (!printable(key)) return {errc::invalid_argument, "the API key must be printable characters without spaces"};
  if (!printable(url) || url.find_first_of("?#@") != url.npos) return wrong;
  target to;
  to.tls = url.starts_with("https://");
  to.key = std::move(key);
  if (!to.tls && !url.starts_with("http://")) return wrong;
  url.remove_prefix(to.tls ? 8 : 7);
  const auto slash = std::min(url.find('/'), url.size());
  auto path = url.substr(slash), where = url.substr(0, slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with("/v1")) path.remove_suffix(3);
  to.prefix = path;

  to.port = to.tls ? 443 : 80;
  const auto bracket = where.starts_with('[') ? where.find(']') : 0;
  if (bracket == where.npos) return wrong;
  if (const auto colon = where.find(':', bracket); colon != where.npos) {
    const auto digits = where.substr(colon + 1);
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), to.port);
    if (problem != std::errc{} || end != digits.data() + digits.size() || to.port == 0) return wrong;
    where = where.substr(0, colon);
  }
  if (bracket > 0) {
    if (!where.ends_with(']')) return wrong;
    where = where.substr(1, where.size() - 2);
  }
  if (where.empty()) return wrong;
  to.host = where;
  return to;
}

std::string request_bytes(const target& to, std::string_view path, std::string_view body) {
  std::string bytes(body.empty() ? "GET " : "POST ");
  bytes += to.prefix;
  bytes += path;
  bytes += " HTTP/1.1\r\nHost: " + to.authority() + "\r\nUser-Agent: quadrant-loadgen\r\n";
  if (!to.key.empty()) bytes += "Authorization: Bearer " + to.key + "\r\n";
  if (!body.empty())
    bytes += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  bytes += "\r\n";
  bytes += body;
  return bytes;
}

} // namespace quadrant::actors::loadgen
