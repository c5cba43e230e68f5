// transport/stream/stage.hpp: the few bytes that a read brought beyond what it was for: the next head, or several whole small
// frames, so that they cost one system call together.
// Threads one owner
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

namespace quadrant::transport::stream {

class stage {
public:
  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  [[nodiscard]] std::span<const std::byte> waiting() const { return std::span(bytes_).subspan(begin_, size()); }
  void drop(std::size_t n) noexcept { begin_ += n; }

  /// Moves as many as there are, and fit; returns how many.
  std::size_t take(std::span<std::byte> to) {
    const auto n = std::min(size(), to.size());
    if (n > 0) std::memcpy(to.data(), bytes_.data() + begin_, n);
    drop(n);
    return n;
  }
  template <std::size_t N>
  std::array<std::byte, N> take() {
    std::array<std::byte, N> to;
    take(to);
    return to;
  }

  /// Where a read may put more; then say how many it was.
  [[nodiscard]] std::span<std::byte> room() {
    if (begin_ > 0) std::memmove(bytes_.data(), bytes_.data() + begin_, size());
    end_ -= std::exchange(begin_, 0);
    return std::span(bytes_).subspan(end_);
  }
  void filled(std::size_t n) noexcept { end_ += n; }

private:
  std::array<std::byte, 8192> bytes_;
  std::size_t begin_ = 0, end_ = 0;
};

} // namespace quadrant::transport::stream
