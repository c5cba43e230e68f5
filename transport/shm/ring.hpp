// transport/shm/ring.hpp: bytes from one process to another through memory that both have mapped.
//
//   writer: written ──────────▶ [ ... bytes ... ] ──────────▶ read :reader
//
// Counters only grow; each side keeps its own beside the shared one and believes nothing that the other writes: a count
// that goes back, or past what the ring holds, breaks the connection. Who finds nothing to do says so before it sleeps,
// looks once more, and is woken over another way.
// Units   bytes
// Threads one writer, one reader
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include <sched.h>

namespace quadrant::transport::shm {

/// The shared part, before the bytes. Zero at first.
struct ring_head {
  alignas(64) std::atomic<std::uint64_t> written;
  std::atomic<std::int32_t> writer_core; ///< where it ran when it wrote; a hint
  alignas(64) std::atomic<std::uint64_t> read;
  alignas(64) std::atomic<std::uint32_t> reader_sleeps;
  alignas(64) std::atomic<std::uint32_t> writer_sleeps;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

class ring_writer {
public:
  ring_writer(ring_head& head, std::span<std::byte> bytes) : head_(&head), bytes_(bytes) {}

  /// Copies as much as there is room for; the reader sees it at once. Nothing where the other side broke the rules.
  std::optional<std::size_t> write(std::span<const std::byte> from) {
    const auto read = head_->read.load(std::memory_order_acquire);
    if (read < read_ || read > written_) return std::nullopt;
    read_ = read;
    const auto n = std::min<std::size_t>(from.size(), bytes_.size() - std::size_t(written_ - read));
    const auto at = std::size_t(written_ % bytes_.size()), first = std::min(n, bytes_.size() - at);
    if (first > 0) std::memcpy(bytes_.data() + at, from.data(), first);
    if (n > first) std::memcpy(bytes_.data(), from.data() + first, n - first);
    written_ += n;
    head_->writer_core.store(::sched_getcpu(), std::memory_order_relaxed);
    head_->written.store(written_, std::memory_order_seq_cst);
    return n;
  }
  [[nodiscard]] bool has_room() const { return written_ - head_->read.load(std::memory_order_seq_cst) < bytes_.size(); }
  /// Must the reader be woken, having been given something? It is told once.
  [[nodiscard]] bool must_wake() { return head_->reader_sleeps.load(std::memory_order_seq_cst) != 0 && take_wake(); }
  void set_sleeps(bool sleeps) { head_->writer_sleeps.store(sleeps ? 1 : 0, std::memory_order_seq_cst); }

private:
  bool take_wake() { return head_->reader_sleeps.exchange(0, std::memory_order_seq_cst) != 0; }
  ring_head* head_;
  std::span<std::byte> bytes_;
  std::uint64_t written_ = 0, read_ = 0;
};

class ring_reader {
public:
  ring_reader(ring_head& head, std::span<const std::byte> bytes) : head_(&head), bytes_(bytes) {}

  /// Copies what there is, as much as fits. Nothing where the other side broke the rules.
  std::optional<std::size_t> read(std::span<std::byte> to) {
    const auto written = head_->written.load(std::memory_order_acquire);
    if (written < read_ || written - read_ > bytes_.size()) return std::nullopt;
    const auto n = std::min<std::size_t>(to.size(), std::size_t(written - read_));
    const auto at = std::size_t(read_ % bytes_.size()), first = std::min(n, bytes_.size() - at);
    if (first > 0) std::memcpy(to.data(), bytes_.data() + at, first);
    if (n > first) std::memcpy(to.data() + first, bytes_.data(), n - first);
    read_ += n;
    if (n > 0) head_->read.store(read_, std::memory_order_seq_cst);
    return n;
  }
  [[nodiscard]] bool has_bytes() const { return head_->written.load(std::memory_order_seq_cst) != read_; }
  /// Must the writer be woken, having been given room?
  [[nodiscard]] bool must_wake() {
    return head_->writer_sleeps.load(std::memory_order_seq_cst) != 0 &&
           head_->writer_sleeps.exchange(0, std::memory_order_seq_cst) != 0;
  }
  [[nodiscard]] int writer_core() const { return head_->writer_core.load(std::memory_order_relaxed); }
  void set_sleeps(bool sleeps) { head_->reader_sleeps.store(sleeps ? 1 : 0, std::memory_order_seq_cst); }

private:
  ring_head* head_;
  std::span<const std::byte> bytes_;
  std::uint64_t read_ = 0;
};

} // namespace quadrant::transport::shm
