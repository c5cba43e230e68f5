// config/check.hpp: a broken promise inside the program prints what it saw and stops. User input never reaches one.
// QCHECK, not CHECK: that word belongs to the test framework.
#pragma once
#include <source_location>
#include <sstream>
#include <string>

namespace quadrant::detail {

[[noreturn]] void check_failed(const char* expression, const std::string& values, std::source_location where);

template <class A, class B>
std::string show_both(const A& a, const B& b) {
  std::ostringstream out;
  out << " (" << +a << " against " << +b << ")";
  return out.str();
}

} // namespace quadrant::detail

#define QCHECK(condition)                                                                                              \
  ((condition) ? void() : ::quadrant::detail::check_failed(#condition, {}, std::source_location::current()))
#define QUADRANT_CHECK_OP(a, op, b)                                                                                    \
  (((a)op(b)) ? void()                                                                                                 \
              : ::quadrant::detail::check_failed(#a " " #op " " #b, ::quadrant::detail::show_both((a), (b)),           \
                                                 std::source_location::current()))
#define QCHECK_EQ(a, b) QUADRANT_CHECK_OP(a, ==, b)
#define QCHECK_LE(a, b) QUADRANT_CHECK_OP(a, <=, b)
#define QCHECK_LT(a, b) QUADRANT_CHECK_OP(a, <, b)
