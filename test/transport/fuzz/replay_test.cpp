// The corpus of the fuzzer, and what a few changed bytes make of it, without libFuzzer: so every build and sanitizer runs it.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using input = std::vector<std::uint8_t>;

std::vector<input> corpus() {
  std::vector<input> list;
  for (const auto& file : std::filesystem::directory_iterator(QUADRANT_SOURCE_DIR "/test/transport/fuzz/corpus")) {
    std::ifstream in(file.path(), std::ios::binary);
    list.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return list;
}

} // namespace

TEST_CASE("whatever a peer sends, nothing else is written, and nothing is held when its connection has ended") {
  LLVMFuzzerInitialize(nullptr, nullptr);
  const auto seeds = corpus();
  REQUIRE(seeds.size() > 5);
  for (const auto& one : seeds) LLVMFuzzerTestOneInput(one.data(), one.size());
  std::minstd_rand dice(11);
  for (int round = 0; round < 3000; ++round) {
    auto some = seeds[dice() % seeds.size()];
    for (auto n = dice() % 4; n > 0 && !some.empty(); --n) some[dice() % some.size()] = std::uint8_t(dice());
    if (dice() % 4 == 0) some.resize(dice() % (some.size() + 1));
    if (dice() % 4 == 0 && !some.empty()) { // and another one's frames behind it
      const auto& more = seeds[dice() % seeds.size()];
      some.insert(some.end(), more.begin() + (more.empty() ? 0 : 1), more.end());
    }
    LLVMFuzzerTestOneInput(some.data(), some.size());
  }
}
