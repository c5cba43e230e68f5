#include <array>
#include <cmath>

#include "model/jinja/access.hpp"
#include "model/jinja/filters.hpp"
#include "model/jinja/operators.hpp"
#include "model/jinja/strings.hpp"

namespace quadrant::model::jinja {
namespace {

using test_function = result<bool> (*)(const value&, const arguments&);

struct test_entry {
  std::string_view name;
  test_function apply;
};

result<const value*> other(const arguments& with) {
  const auto* v = with.find(0, "other");
  if (v == nullptr) return {errc::invalid_argument, "the test needs something to compare with"};
  return v;
}

result<std::int64_t> integer(const value& v) {
  if (const auto* i = v.get_if<std::int64_t>()) return *i;
  if (const auto* b = v.get_if<bool>()) return std::int64_t(*b);
  return {errc::invalid_argument, "the test is of integers, not of " + std::string(v.type_name())};
}

template <char A, char B>
result<bool> compares(const value& v, const arguments& with) {
  static constexpr char op[] = {A, B};
  QUADRANT_TRY(const auto* second, other(with));
  return compare(std::string_view(op, B == '\0' ? 1 : 2), v, *second);
}

result<bool> is_in(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* second, other(with));
  return contains(*second, v);
}

result<bool> is_divisible(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* second, other(with));
  QUADRANT_TRY(const auto rest, apply_binary("%", v, *second));
  return !rest.truth();
}

template <int Rest>
result<bool> has_parity(const value& v, const arguments&) {
  QUADRANT_TRY(const auto i, integer(v));
  return (i & 1) == Rest;
}

template <letter_case Case>
result<bool> has_case(const value& v, const arguments&) {
  const auto text = v.str();
  constexpr auto opposite = Case == letter_case::upper ? letter_case::lower : letter_case::upper;
  return in_case(text, Case).text == text.text && in_case(text, opposite).text != text.text;
}

/// Identity: of what cannot be told apart otherwise, so of numbers and constants equal kind and value.
result<bool> is_same(const value& v, const arguments& with) {
  QUADRANT_TRY(const auto* second, other(with));
  return v.type_name() == second->type_name() && equal(v, *second);
}

bool has_members(const value& v) { return v.is_text() || v.is_list() || v.is_dict() || v.is_undefined(); }

constexpr test_entry tests[] = {
    {"defined", [](const value& v, const arguments&) -> result<bool> { return !v.is_undefined(); }},
    {"undefined", [](const value& v, const arguments&) -> result<bool> { return v.is_undefined(); }},
    {"none", [](const value& v, const arguments&) -> result<bool> { return v.is<std::nullptr_t>(); }},
    {"string", [](const value& v, const arguments&) -> result<bool> { return v.is_text(); }},
    {"mapping", [](const value& v, const arguments&) -> result<bool> { return v.is_dict(); }},
    {"iterable", [](const value& v, const arguments&) -> result<bool> { return has_members(v); }},
    {"sequence", [](const value& v, const arguments&) -> result<bool> { return has_members(v); }},
    {"number", [](const value& v, const arguments&) -> result<bool> { return v.is_number(); }},
    {"integer", [](const value& v, const arguments&) -> result<bool> { return v.is<std::int64_t>(); }},
    {"float", [](const value& v, const arguments&) -> result<bool> { return v.is<double>(); }},
    {"boolean", [](const value& v, const arguments&) -> result<bool> { return v.is<bool>(); }},
    {"true", [](const value& v, const arguments&) -> result<bool> { return v.is<bool>() && v.get<bool>(); }},
    {"false", [](const value& v, const arguments&) -> result<bool> { return v.is<bool>() && !v.get<bool>(); }},
    {"callable",
     [](const value& v, const arguments&) -> result<bool> { return v.is<std::shared_ptr<const callable>>(); }},
    {"eq", compares<'=', '='>},
    {"equalto", compares<'=', '='>},
    {"==", compares<'=', '='>},
    {"ne", compares<'!', '='>},
    {"!=", compares<'!', '='>},
    {"lt", compares<'<', '\0'>},
    {"lessthan", compares<'<', '\0'>},
    {"<", compares<'<', '\0'>},
    {"le", compares<'<', '='>},
    {"<=", compares<'<', '='>},
    {"gt", compares<'>', '\0'>},
    {"greaterthan", compares<'>', '\0'>},
    {">", compares<'>', '\0'>},
    {"ge", compares<'>', '='>},
    {">=", compares<'>', '='>},
    {"in", is_in},
    {"divisibleby", is_divisible},
    {"odd", has_parity<1>},
    {"even", has_parity<0>},
    {"upper", has_case<letter_case::upper>},
    {"lower", has_case<letter_case::lower>},
    {"sameas", is_same},
};

const test_entry* find_test(std::string_view name) {
  for (const auto& t : tests)
    if (t.name == name) return &t;
  return nullptr;
}

} // namespace

bool is_test(std::string_view name) { return find_test(name) != nullptr; }

result<bool> apply_test(std::string_view name, const value& subject, const arguments& with) {
  const auto* t = find_test(name);
  if (t == nullptr) return {errc::invalid_argument, "test '" + std::string(name) + "' is not supported"};
  return t->apply(subject, with);
}

} // namespace quadrant::model::jinja
