// config/result.hpp: an expected failure is a value; a bug is a QCHECK.
// A code exists only if some caller acts on it; the message is the one line a user reads: what, where, what to do.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "config/check.hpp"

namespace quadrant {

enum class errc {
  invalid_argument, ///< the caller's input is wrong: tell the caller (a 4xx, a non-zero exit)
  not_found,        ///< a file, a model or a peer is not there: tell the caller
  corrupt,          ///< bytes from outside break their own format: drop the source, never the process
  out_of_blocks,    ///< no KV block is free: preempt or wait, then ask again
  unavailable,      ///< this build, machine or moment cannot do it: choose another path, or retry later
  peer_lost,        ///< the other side is gone: fail over or fail the request
  deadline,         ///< it took too long: the work is abandoned
  cancelled,        ///< the owner no longer wants it: release and say nothing
  numeric,          ///< NaN or Inf where a number was due: fail the request
};

[[nodiscard]] std::string_view to_string(errc code) noexcept;

struct failure {
  errc code;
  std::string message;
};

template <class T>
class [[nodiscard]] result {
public:
  using value_type = T;
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {} // NOLINT(google-explicit-constructor)
  result(failure e) : state_(std::in_place_index<1>, std::move(e)) {}   // NOLINT(google-explicit-constructor)
  result(errc code, std::string message) : state_(std::in_place_index<1>, failure{code, std::move(message)}) {}

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  [[nodiscard]] T& value() & { return QCHECK(ok()), std::get<0>(state_); }
  [[nodiscard]] const T& value() const& { return QCHECK(ok()), std::get<0>(state_); }
  [[nodiscard]] T&& value() && { return QCHECK(ok()), std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  [[nodiscard]] const failure& error() const& { return QCHECK(!ok()), std::get<1>(state_); }
  [[nodiscard]] failure&& error() && { return QCHECK(!ok()), std::get<1>(std::move(state_)); }

private:
  std::variant<T, failure> state_;
};

template <>
class [[nodiscard]] result<void> {
public:
  result() = default;
  result(failure e) : error_(std::move(e)) {} // NOLINT(google-explicit-constructor)
  result(errc code, std::string message) : error_(failure{code, std::move(message)}) {}

  [[nodiscard]] bool ok() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] const failure& error() const& { return QCHECK(!ok()), *error_; }

private:
  std::optional<failure> error_;
};

/// `QUADRANT_TRY(auto x, f());` names the value of f(), or returns its error from the enclosing function.
#define QUADRANT_TRY_JOIN2(a, b) a##b
#define QUADRANT_TRY_JOIN(a, b) QUADRANT_TRY_JOIN2(a, b)
#define QUADRANT_TRY(declaration, expression)                                                                          \
  auto QUADRANT_TRY_JOIN(try_, __LINE__) = (expression);                                                               \
  if (!QUADRANT_TRY_JOIN(try_, __LINE__)) return std::move(QUADRANT_TRY_JOIN(try_, __LINE__)).error();                 \
  declaration = std::move(QUADRANT_TRY_JOIN(try_, __LINE__)).value()
/// The same for `result<void>`.
#define QUADRANT_TRY_VOID(expression)                                                                                  \
  do {                                                                                                                 \
    if (auto QUADRANT_TRY_JOIN(try_, __LINE__) = (expression); !QUADRANT_TRY_JOIN(try_, __LINE__))                     \
      return QUADRANT_TRY_JOIN(try_, __LINE__).error();                                                                \
  } while (false)

} // namespace quadrant
