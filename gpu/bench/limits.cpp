#include "gpu/bench/limits.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "config/clock.hpp"

namespace quadrant::gpu::bench {
namespace {

constexpr std::size_t memory_bytes = std::size_t(512) << 20; // sixteen times the largest cache in common use
constexpr std::int64_t pieces = 64;                          // of a sample: any thread may take the next
constexpr double sample_ns = 10e6;

template <class Fn>
double seconds(Fn fn) {
  const auto start = steady_clock::monotonic_ns();
  fn();
  return double(std::max<std::int64_t>(1, steady_clock::monotonic_ns() - start)) * 1e-9;
}

} // namespace

const std::byte* limits::memory(team& t) {
  if (memory_.size() == 0) {
    memory_ = aligned_bytes(memory_bytes);
    t.parallel(pieces, 1, [&](std::int64_t begin, std::int64_t end) { // pages exist only once written
      std::memset(memory_.data() + std::size_t(begin) * (memory_bytes / pieces), 1,
                  std::size_t(end - begin) * (memory_bytes / pieces));
    });
  }
  return memory_.data();
}

double limits::int8_gops(team& t) {
  std::atomic<std::int64_t> operations{0};
  std::int64_t rounds = 1024;
  for (;;) {
    operations = 0;
    const auto s = seconds([&] {
      t.parallel(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) operations += std::int64_t(fns_.dot(rounds));
      });
    });
    if (s * 1e9 >= sample_ns / 2) return double(operations) / s * 1e-9;
    rounds = std::int64_t(double(rounds) * std::clamp(sample_ns / (s * 1e9), 2.0, 64.0));
  }
}

double limits::dram_gb_s(team& t) {
  constexpr std::size_t part = memory_bytes / 2; // the other half has taken its place in the caches by then
  const auto* from = memory(t) + next_;
  next_ = next_ == 0 ? part : 0;
  const auto s = seconds([&] {
    t.parallel(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      fns_.read(from + std::size_t(begin) * (part / pieces), std::size_t(end - begin) * (part / pieces));
    });
  });
  return double(part) / s * 1e-9;
}

double limits::random_gb_s(team& t, std::size_t block) {
  const auto* from = memory(t);
  block = std::max<std::size_t>(256, block / 256 * 256);
  const auto places = memory_bytes / block, blocks = std::max<std::size_t>(std::size_t(pieces), places / 2);
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
  const auto piece = std::clamp<std::size_t>(bytes / 16 / 256 * 256, 256, memory_bytes / 16);
  const auto once = [&](std::int64_t times) {
    return seconds([&] {
      t.parallel(16 * times, 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) fns_.read(from + std::size_t(i % 16) * piece, piece);
      });
    });
  };
  const auto warm = once(2) / 2;
  const auto times = std::max<std::int64_t>(2, std::int64_t(sample_ns * 1e-9 / warm));
  return double(16 * times) * double(piece) / once(times) * 1e-9;
}

} // namespace quadrant::gpu::bench
