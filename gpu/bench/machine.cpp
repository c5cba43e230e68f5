#include "gpu/bench/machine.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>

namespace quadrant::gpu::bench {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name") && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  return "unknown processor";
}

/// The word in brackets: "always [madvise] never".
std::string huge_pages() {
  std::ifstream setting("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  std::getline(setting, line);
  const auto from = line.find('['), to = line.find(']');
  return from == std::string::npos || to == std::string::npos ? "never" : line.substr(from + 1, to - from - 1);
}

std::string reason(isa i) {
  if (const char* asked = std::getenv("QUADRANT_ISA"); asked != nullptr && *asked != '\0')
    return "asked for by QUADRANT_ISA";
  std::string why = "the best of those that this processor has (";
  for (const auto one : available_isas()) why.append(one == isa::scalar ? "" : ", ").append(to_string(one));
  why += ")";
  if (i != isa::avx512) why += "; AVX-512 F, BW, DQ, VL and VNNI are needed for avx512, AVX2 and FMA for avx2";
  return why;
}

double median_of_nine(const std::function<double()>& sample) {
  std::vector<double> list;
  for (int i = 0; i < 9; ++i) list.push_back(sample());
  std::ranges::sort(list);
  return list[4];
}

} // namespace

machine measure_machine(team& t, isa i) {
  limits l(i);
  const auto expert = std::size_t(512) << 10;
  return {.processor = processor_name(),
          .isa_because = reason(i),
          .huge_pages = huge_pages(),
          .figures = {
              {"int8_peak_gops", median_of_nine([&] { return l.int8_gops(t); }), "GOPS"},
              {"l1_read_gb_s", median_of_nine([&] { return l.reread_gb_s(t, std::size_t(16) << 10); }), "GB/s"},
              {"l2_read_gb_s", median_of_nine([&] { return l.reread_gb_s(t, std::size_t(512) << 10); }), "GB/s"},
              {"l3_read_gb_s", median_of_nine([&] { return l.reread_gb_s(t, std::size_t(8) << 20); }), "GB/s"},
              {"dram_read_gb_s", median_of_nine([&] { return l.dram_gb_s(t); }), "GB/s"},
              {"dram_random_16k_gb_s", median_of_nine([&] { return l.random_gb_s(t, std::size_t(16) << 10); }), "GB/s"},
              {"dram_random_64k_gb_s", median_of_nine([&] { return l.random_gb_s(t, std::size_t(64) << 10); }), "GB/s"},
              {"dram_random_512k_gb_s", median_of_nine([&] { return l.random_gb_s(t, expert); }), "GB/s"}}};
}

} // namespace quadrant::gpu::bench
