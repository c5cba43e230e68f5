#include "gpu/bench/limits.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include <unistd.h>

#include "config/clock.hpp"

namespace quadrant::gpu::bench {
namespace {

constexpr double sample_ns = 10e6;

/// Four times the last-level cache, and at least 512 MiB: what is read was not read lately.
std::size_t memory_size() {
  const auto cache = std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE));
  return std::max(std::size_t(512) << 20, (4 * std::size_t(cache) + (std::size_t(1) << 21) - 1) >> 21 << 21);
}
/// Of a sample: any thread may take the next.
std::int64_t pieces_for(const team& t) { return 32 * std::int64_t(t.num_threads()); }
/// [begin, end) of `pieces` pieces of `bytes`, at borders of 256 bytes.
std::size_t border(std::size_t bytes, std::int64_t piece, std::int64_t pieces) {
  return bytes / 256 * std::size_t(piece) / std::size_t(pieces) * 256;
}

template <class Fn>
double seconds(Fn fn) {
  const auto start = steady_clock::monotonic_ns();
  fn();
  return double(std::max<std::int64_t>(1, steady_clock::monotonic_ns() - start)) * 1e-9;
}

} // namespace

const std::byte* limits::memory(team& t) {
  if (memory_.size() == 0) {
    memory_ = aligned_bytes(memory_size());
    const auto pieces = pieces_for(t);
    t.parallel(pieces, 1, [&](std::int64_t begin, std::int64_t end) { // pages exist only once written
      const auto first = border(memory_.size(), begin, pieces);
      std::memset(memory_.data() + first, 1, border(memory_.size(), end, pieces) - first);
    });
  }
  return memory_.data();
}

double limits::int8_gops(team& t) {
  std::atomic<std::int64_t> operations{0};
  for (std::int64_t rounds = 1024;;) {
    operations = 0;
    const auto s = seconds([&] {
      t.parallel(pieces_for(t), 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) operations += std::int64_t(fns_.dot(rounds));
      });
    });
    if (s * 1e9 >= sample_ns / 2) return double(operations) / s * 1e-9;
    rounds = std::int64_t(double(rounds) * std::clamp(sample_ns / (s * 1e9), 2.0, 64.0));
  }
}

double limits::dram_gb_s(team& t) {
  const auto* from = memory(t) + next_;
  const auto part = memory_.size() / 2; // the other half has taken its place in the caches by then
  next_ = next_ == 0 ? part : 0;
  const auto pieces = pieces_for(t);
  const auto s = seconds([&] {
    t.parallel(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      const auto first = border(part, begin, pieces);
      fns_.read(from + first, border(part, end, pieces) - first);
    });
  });
  return double(border(part, pieces, pieces)) / s * 1e-9;
}

double limits::random_gb_s(team& t, std::size_t block) {
  const auto* from = memory(t);
  block = std::clamp<std::size_t>(block / 256 * 256, 256, memory_.size() / 64);
  const auto places = memory_.size() / block, blocks = std::max<std::size_t>(16, places / 2);
  const auto first = random_;
  random_ += blocks;
  const auto s = seconds([&] {
    t.parallel(std::int64_t(blocks), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        auto z = (first + std::uint64_t(i)) * 0x9e3779b97f4a7c15u; // splitmix64
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        fns_.read(from + std::size_t((z ^ (z >> 31)) % places) * block, block);
      }
    });
  });
  return double(blocks) * double(block) / s * 1e-9;
}

double limits::reread_gb_s(team& t, std::size_t bytes) {
  const auto* from = memory(t);
  // What one core's own caches may hold each thread reads whole; more is read in sixteen parts.
  const std::int64_t parts = bytes < (std::size_t(1) << 20) ? 1 : 16;
  const auto piece = std::clamp<std::size_t>(bytes / std::size_t(parts) / 256 * 256, 256, memory_.size() / 16);
  const auto once = [&](std::int64_t items) {
    return seconds([&] {
      t.parallel(items, parts, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) fns_.read(from + std::size_t(i % parts) * piece, piece);
      });
    });
  };
  const auto warm = once(4 * parts) / double(4 * parts);
  const auto items = std::max<std::int64_t>(4 * parts * t.num_threads(), std::int64_t(sample_ns * 1e-9 / warm));
  return double(items) * double(piece) / once(items) * 1e-9;
}

} // namespace quadrant::gpu::bench
