// model/jinja/budget.hpp: how much one rendering may do, and how deep it may go.
// Threads belongs to one rendering
#pragma once
#include <cstdint>

#include "model/jinja/value.hpp"

namespace quadrant::model::jinja {

class budget {
public:
  static constexpr std::int64_t max_turns = 1'000'000;
  static constexpr int max_calls = 100;
  static constexpr int max_levels = 1000; ///< at most 1 MB of stack, 4 MB under ASan (measured)

  /// Counts one up while it lives.
  class counted {
  public:
    counted(int& count, int most) : count_(count), most_(most) { ++count_; }
    ~counted() { --count_; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    [[nodiscard]] bool too_deep() const noexcept { return count_ > most_; }

  private:
    int& count_;
    int most_;
  };
  /// One block or expression deeper.
  [[nodiscard]] counted level() { return {levels_, max_levels}; }
  /// One macro call deeper.
  [[nodiscard]] counted call() { return {calls_, max_calls}; }

  /// A turn of a loop, or a call; false: there were too many.
  [[nodiscard]] bool spend_turn() { return spend(1); }
  /// Something looks at every member or character of these values.
  template <class... Values>
  [[nodiscard]] bool spend_looks(const Values&... values) {
    return spend((looks(values) + ...));
  }

  /// The same of `argument`, once for each member of `subject`.
  [[nodiscard]] bool spend_looks_each(const value& subject, const value& argument) {
    return spend((subject.is_list() ? std::int64_t(subject.as_list().size()) : 1) * looks(argument));
  }

private:
  [[nodiscard]] bool spend(std::int64_t turns) { return (turns_ += turns) <= max_turns; }
  /// In turns: about as much work.
  static std::int64_t looks(const value& v) {
    if (v.is_text()) return std::int64_t(v.chars().size() / 1024);
    if (v.is_list()) return std::int64_t(v.as_list().size() / 32);
    return v.is_dict() ? std::int64_t(v.as_dict().entries().size() / 32) : 0;
  }

  std::int64_t turns_ = 0;
  int calls_ = 0, levels_ = 0;
};

} // namespace quadrant::model::jinja
