#include <algorithm>
#include <vector>

#include "gpu/kv_layout.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using gpu::dtype;
using gpu::kv_layout;

TEST_CASE("a slice holds the rows and scales of each of its planes, and they do not overlap") {
  test::property("any planes", [] {
    std::vector<gpu::kv_plane> planes;
    const auto count = *rc::gen::inRange<std::size_t>(1, 5);
    while (planes.size() < count)
      planes.push_back({*rc::gen::inRange(1, 70) * 8, *rc::gen::element(dtype::f32, dtype::bf16, dtype::i8)});
    const auto blocks = *rc::gen::inRange(1, 9), layers = *rc::gen::inRange(1, 5), heads = *rc::gen::inRange(1, 5);
    const auto l = count == 1   ? kv_layout(blocks, layers, heads, {planes[0]})
                   : count == 2 ? kv_layout(blocks, layers, heads, {planes[0], planes[1]})
                   : count == 3 ? kv_layout(blocks, layers, heads, {planes[0], planes[1], planes[2]})
                                : kv_layout(blocks, layers, heads, {planes[0], planes[1], planes[2], planes[3]});
    RC_ASSERT(l.num_planes() == count);
    struct range {
      std::size_t first, end;
    };
    std::vector<range> ranges;
    for (std::size_t p = 0; p < count; ++p) {
      ranges.push_back({l.row_offset(p), l.row_offset(p) + gpu::block_tokens * l.plane(p).row_bytes()});
      ranges.push_back({l.scale_offset(p), l.scale_offset(p) + l.plane(p).scale_bytes()});
    }
    std::ranges::sort(
        ranges, [](const range& a, const range& b) { return std::pair(a.first, a.end) < std::pair(b.first, b.end); });
    std::size_t last = 0;
    for (const auto& r : ranges) {
      RC_ASSERT(r.first >= last);
      last = r.end;
    }
    RC_ASSERT(last <= l.slice_bytes());
    RC_ASSERT(l.slice_bytes() % 64 == 0u);
    RC_ASSERT(l.slice_offset(blocks - 1, layers - 1, heads - 1) + l.slice_bytes() == l.pool_bytes());
    const auto at = [&](std::int32_t n) { return l.slice_offset(n / heads % blocks, n / heads / blocks, n % heads); };
    for (std::int32_t n = 1; n < blocks * layers * heads; ++n) // no two slices touch, and a layer lies in one piece
      RC_ASSERT(at(n) == at(n - 1) + l.slice_bytes());
  });
}

TEST_CASE("keys and values are two planes of one width and type") {
  constexpr auto l = kv_layout::keys_and_values(3, 6, 2, 64, 64, dtype::i8);
  CHECK(l.num_planes() == 2);
  CHECK(l.slice_bytes() == 2 * (64 * 64 + 64 * sizeof(float)));
  CHECK(l.v_offset() == 64 * 64);
  CHECK(kv_layout::keys_and_values(3, 6, 2, 64, 64, dtype::bf16).slice_bytes() == 2 * 64 * 64 * 2);
}
