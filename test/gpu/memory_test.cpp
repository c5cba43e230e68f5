// aligned_bytes: what users of memory rely on, whatever the source.
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include "gpu/memory.hpp"

namespace quadrant::test {
namespace {

bool is_zero(const gpu::aligned_bytes& bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (bytes.data()[i] != std::byte{0}) return false;
  return true;
}

} // namespace

TEST_CASE("memory is aligned and zero, whatever its size and source") {
  for (const std::size_t size : {1u, 63u, 64u, 4096u, 65535u, 65536u, 70001u, 1u << 20, (2u << 20) + 5, 20u << 20})
    for (const bool weight : {false, true})
      for (int again = 0; again < 3; ++again) { // what was dirtied and freed is zero again
        const auto bytes = weight ? gpu::aligned_bytes::of_weight(size) : gpu::aligned_bytes(size);
        CHECK(bytes.size() == size);
        CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % 64 == 0);
        CHECK(is_zero(bytes));
        std::memset(bytes.data(), 0xff, size);
      }
}

TEST_CASE("weights that are made side by side do not touch, and outlive their neighbours") {
  std::vector<std::vector<gpu::aligned_bytes>> made(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < made.size(); ++t)
    threads.emplace_back([&made, t] {
      for (int i = 0; i < 60; ++i) { // 300 MB in all, of several mappings
        auto bytes = gpu::aligned_bytes::of_weight(1'000'000 + std::size_t(i) * 7919);
        std::memset(bytes.data(), int(t * 60 + std::size_t(i)), bytes.size());
        made[t].push_back(std::move(bytes));
      }
    });
  for (auto& thread : threads) thread.join();
  for (auto& list : made) // every other one goes
    for (std::size_t i = 0; i < list.size(); i += 2) list[i] = {};
  bool whole = true;
  for (std::size_t t = 0; t < made.size(); ++t)
    for (std::size_t i = 1; i < made[t].size(); i += 2)
      for (std::size_t b = 0; b < made[t][i].size(); b += 61)
        whole = whole && made[t][i].data()[b] == std::byte(t * 60 + i);
  CHECK(whole);
}

} // namespace quadrant::test
