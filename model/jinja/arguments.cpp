#include <algorithm>

#include "model/jinja/filters.hpp"

namespace quadrant::model::jinja {
namespace {

failure wrong_kind(std::string_view name, std::string_view wanted, const value& found) {
  return {errc::invalid_argument, "argument '" + std::string(name) + "' is to be " + std::string(wanted) + ", not " +
                                      std::string(found.type_name())};
}

} // namespace

const value* arguments::find(std::size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  const auto found = std::ranges::find_if(named, [&](const auto& n) { return n.first == name; });
  return found == named.end() ? nullptr : &found->second;
}

result<std::int64_t> arguments::integer(std::size_t place, std::string_view name, std::int64_t fallback) const {
  const auto* v = find(place, name);
  if (v == nullptr || v->is<std::nullptr_t>()) return fallback;
  if (const auto* i = v->get_if<std::int64_t>()) return *i;
  if (const auto* b = v->get_if<bool>()) return std::int64_t(*b);
  return wrong_kind(name, "an integer", *v);
}

bool arguments::truth(std::size_t place, std::string_view name, bool fallback) const {
  const auto* v = find(place, name);
  return v == nullptr ? fallback : v->truth();
}

result<const marked_text*> arguments::optional_text(std::size_t place, std::string_view name) const {
  const auto* v = find(place, name);
  if (v == nullptr || v->is<std::nullptr_t>()) return nullptr;
  if (!v->is_text()) return wrong_kind(name, "a str", *v);
  return &v->marked();
}

result<const marked_text*> arguments::text(std::size_t place, std::string_view name) const {
  QUADRANT_TRY(const auto* found, optional_text(place, name));
  if (found == nullptr) return {errc::invalid_argument, "argument '" + std::string(name) + "' is missing"};
  return found;
}

arguments arguments::after(std::size_t n) const {
  arguments rest = *this;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + std::ptrdiff_t(std::min(n, positional.size())));
  return rest;
}

} // namespace quadrant::model::jinja
