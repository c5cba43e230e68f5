// The corpus of the fuzzer, and what a few changed bytes make of it, without libFuzzer: so every build and sanitizer runs it.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include <doctest/doctest.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

TEST_CASE("whatever a trace or a server says, it is read to an end, and the same however it is cut") {
  std::vector<std::vector<std::uint8_t>> seeds;
  for (const auto& file : std::filesystem::directory_iterator(QUADRANT_SOURCE_DIR "/test/actors/loadgen/fuzz/corpus")) {
    std::ifstream in(file.path(), std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  REQUIRE(seeds.size() > 5);
  for (const auto& one : seeds) LLVMFuzzerTestOneInput(one.data(), one.size());
  std::minstd_rand dice(11);
  for (int round = 0; round < 5000; ++round) {
    auto some = seeds[dice() % seeds.size()];
    for (auto n = dice() % 4; n > 0; --n) some[1 + dice() % (some.size() - 1)] = std::uint8_t(dice());
    if (dice() % 4 == 0) some.resize(1 + dice() % some.size());
    LLVMFuzzerTestOneInput(some.data(), some.size());
  }
}
