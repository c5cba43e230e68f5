#include "model/jinja/operators.hpp"

#include <cmath>
#include <optional>
#include <string>

#include "model/jinja/access.hpp"
#include "model/jinja/strings.hpp"

namespace quadrant::model::jinja {
namespace {

failure mismatch(std::string_view op, const value& a, const value& b) {
  for (const auto* side : {&a, &b})
    if (side->is_undefined()) return is_undefined(*side);
  return {errc::invalid_argument,
          "cannot do " + std::string(a.type_name()) + " " + std::string(op) + " " + std::string(b.type_name())};
}
failure too_big() { return {errc::invalid_argument, "a number does not fit 64 bits"}; }

std::optional<std::int64_t> whole(const value& v) {
  if (const auto* b = v.get_if<bool>()) return *b ? 1 : 0;
  if (const auto* i = v.get_if<std::int64_t>()) return *i;
  return std::nullopt;
}

/// base to the power of `exponent` by squaring, with `times` to multiply; false where it fails.
template <class Number, class Times>
bool raise(Number base, std::int64_t exponent, Number& out, Times times) {
  while (true) {
    if ((exponent & 1) != 0 && !times(out, base)) return false;
    exponent >>= 1;
    if (exponent == 0) return true;
    if (!times(base, base)) return false;
  }
}

result<value> on_integers(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  bool overflow = false;
  if (op == "+")
    overflow = __builtin_add_overflow(a, b, &out);
  else if (op == "-")
    overflow = __builtin_sub_overflow(a, b, &out);
  else if (op == "*")
    overflow = __builtin_mul_overflow(a, b, &out);
  else if (op == "**") {
    out = 1;
    const auto times = [](std::int64_t& x, std::int64_t y) { return !__builtin_mul_overflow(x, y, &x); };
    overflow = !raise(a, b, out, times);
  } else { // // and %, rounded down
    if (b == 0) return {errc::invalid_argument, "division by zero"};
    if (b == -1) {
      if (op == "//") overflow = __builtin_sub_overflow(std::int64_t(0), a, &out);
    } else {
      const auto rest = a % b;
      const bool down = rest != 0 && (rest < 0) != (b < 0);
      out = op == "%" ? rest + (down ? b : 0) : a / b - (down ? 1 : 0);
    }
  }
  if (overflow) return too_big();
  return value::integer(out);
}

result<value> on_reals(std::string_view op, double a, const value& right) {
  const double b = right.number();
  if (op == "+") return value::real(a + b);
  if (op == "-") return value::real(a - b);
  if (op == "*") return value::real(a * b);
  if (op == "**") {
    const auto exponent = whole(right);
    if (!exponent) return {errc::invalid_argument, "** takes an integer exponent"};
    double out = 1;
    raise(a, std::abs(std::max(*exponent, -INT64_MAX)), out, [](double& x, double y) { return x *= y, true; });
    return value::real(*exponent < 0 ? 1 / out : out);
  }
  if (b == 0) return {errc::invalid_argument, "division by zero"};
  if (op == "/") return value::real(a / b);
  if (op == "//") return value::real(std::floor(a / b));
  const double rest = std::fmod(a, b);
  return value::real(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

} // namespace

result<value> apply_binary(std::string_view op, const value& a, const value& b) {
  if (op == "~" || (op == "+" && a.is_text() && b.is_text())) {
    auto text = a.str();
    text.append(b.str());
    if (text.text.size() > max_bytes) return too_long();
    return value::text(std::move(text));
  }
  if (a.is_number() && b.is_number()) {
    const auto i = whole(a), j = whole(b);
    if (i && j && op != "/" && !(op == "**" && *j < 0)) return on_integers(op, *i, *j);
    return on_reals(op, a.number(), b);
  }
  if (op == "*" && (a.is_text() || b.is_text())) {
    const auto& text = a.is_text() ? a : b;
    const auto times = whole(a.is_text() ? b : a);
    if (!times) return mismatch(op, a, b);
    QUADRANT_TRY(auto out, repeat(text.marked(), *times));
    return value::text(std::move(out));
  }
  if (op == "+" && a.is_list() && b.is_list()) {
    auto out = a.as_list();
    out.insert(out.end(), b.as_list().begin(), b.as_list().end());
    return value::items(std::move(out));
  }
  return mismatch(op, a, b);
}

result<value> apply_sign(std::string_view op, const value& a) {
  if (a.is_undefined()) return is_undefined(a);
  if (!a.is_number())
    return {errc::invalid_argument, "cannot put " + std::string(op) + " before " + std::string(a.type_name())};
  if (const auto i = whole(a)) return on_integers(op, 0, *i);
  return value::real(op == "-" ? -a.number() : a.number());
}

result<bool> compare(std::string_view op, const value& a, const value& b) {
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  if (op == "in") return contains(b, a);
  if (op == "not in") {
    QUADRANT_TRY(const bool inside, contains(b, a));
    return !inside;
  }
  for (const auto* side : {&a, &b})
    if (side->is_undefined()) return is_undefined(*side);
  const bool swapped = op == ">" || op == "<=";
  QUADRANT_TRY(const bool below, swapped ? less(b, a) : less(a, b));
  return op == "<=" || op == ">=" ? !below : below;
}

} // namespace quadrant::model::jinja
