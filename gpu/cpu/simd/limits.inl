// gpu/cpu/simd/limits.inl: what these instructions do where nothing else is in the way: the yardsticks of bench/.

namespace quadrant::gpu::simd {
namespace {

/// Integer products from registers alone; returns the multiplications and additions that they are.
double dot_from_registers(std::int64_t rounds) {
  constexpr int sums = tile_rows * tile_panels(tile_rows);
  alignas(64) std::int8_t some[64];
  __builtin_memset(some, 7, sizeof some);
  in_memory(some); // nothing about them is known: a product with a known 0 would not be made
  auto four = all_quads(some);
  const auto even = i4_weights::at(reinterpret_cast<const std::byte*>(some), 0),
             odd = i4_weights::at(reinterpret_cast<const std::byte*>(some), 1);
  i32x16 acc[sums];
#pragma GCC unroll 32
  for (auto& a : acc) a = all(std::int32_t{0});
  for (std::int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 32
    for (auto& a : acc) {
      hide(four); // or the product is taken out of the loop
      i4_weights::dot_both(a, even, odd, four, four);
    }
  }
  auto total = acc[0];
#pragma GCC unroll 32
  for (int i = 1; i < sums; ++i) total = add(total, acc[i]);
  hide(total);
  return double(rounds) * sums * 16 * 8 * 2;
}

/// Reads `bytes`, a multiple of 256, and does next to nothing with them.
void read_bytes(const std::byte* from, std::size_t bytes) {
  i32x16 acc[4];
  for (auto& a : acc) a = all(std::int32_t{0});
  for (std::size_t i = 0; i < bytes; i += 256)
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j)
      acc[j] = either(acc[j], load(reinterpret_cast<const std::int32_t*>(from + i + 64 * j)));
  auto total = either(either(acc[0], acc[1]), either(acc[2], acc[3]));
  hide(total);
}

} // namespace
} // namespace quadrant::gpu::simd
