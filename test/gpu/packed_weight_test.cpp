#include <cmath>
#include <cstring>

#include "gpu/math.hpp"
#include "test/gpu/op_data.hpp"

namespace quadrant::test {

using gpu::dtype;

TEST_CASE("packed_weight") {
  property("f32 and bf16 come back as they went in", [](std::uint64_t seed) {
    op_data d(seed);
    const auto out = d.between(1, 50), in = d.between(1, 90);
    const auto w = d.reals(std::int64_t(out) * in);
    for (const auto type : {dtype::f32, dtype::bf16}) {
      const auto packed = gpu::pack(type, w, out, in, 0);
      std::vector<float> back(w.size());
      gpu::unpack(packed, back);
      for (std::size_t n = 0; n < w.size(); ++n)
        RC_ASSERT(std::bit_cast<std::uint32_t>(back[n]) ==
                  std::bit_cast<std::uint32_t>(type == dtype::f32 ? w[n] : gpu::round_bf16(w[n])));
    }
  });

  property(
      "i8 and i4 come back within half a step of their group",
      [](std::uint64_t seed) {
        op_data d(seed);
        const auto out = d.between(1, 40), in = d.between(1, 300), group = d.one_of({32, 64, 128, in});
        std::vector<float> w(std::size_t(out) * std::size_t(in));
        for (auto& x : w) x = float(d.between(-1'000'000, 1'000'000)) * 1e-6f;
        for (const auto type : {dtype::i8, dtype::i4}) {
          const auto packed = gpu::pack(type, w, out, in, group);
          RC_ASSERT(packed.groups() == (in + group - 1) / group);
          std::vector<float> back(w.size());
          gpu::unpack(packed, back);
          for (std::int32_t n = 0; n < out; ++n)
            for (std::int32_t k = 0; k < in; ++k) {
              float amax = 0;
              for (auto i = k / group * group; i < std::min(in, (k / group + 1) * group); ++i)
                amax = std::max(amax, std::fabs(w[std::size_t(n * in + i)]));
              const float step = amax / (type == dtype::i8 ? 127.0f : 7.0f);
              RC_ASSERT(std::fabs(back[std::size_t(n * in + k)] - w[std::size_t(n * in + k)]) <= step * 0.5001f);
            }
        }
      },
      40);

  property("a group of weights with a NaN or an Inf among them is NaN, and its neighbours are not",
           [](std::uint64_t seed) {
             op_data d(seed);
             const std::int32_t out = 3, in = 96, group = 32;
             std::vector<float> w(std::size_t(out) * in, 0.5f);
             const auto bad = std::size_t(d.below(out * in));
             w[bad] = d.one_of({NAN, INFINITY, -INFINITY});
             for (const auto type : {dtype::i8, dtype::i4}) {
               std::vector<float> back(w.size());
               gpu::unpack(gpu::pack(type, w, out, in, group), back);
               for (std::size_t i = 0; i < w.size(); ++i) RC_ASSERT(std::isnan(back[i]) == (i / group == bad / group));
             }
           });

  property("a team packs what one thread packs, from rows that are read as they are wanted", [](std::uint64_t seed) {
    op_data d(seed);
    const auto out = d.between(1, 90), in = d.between(1, 200), group = d.one_of({32, 64, 128, in});
    const auto type = d.one_of({dtype::f32, dtype::bf16, dtype::i8, dtype::i4});
    const auto w = d.rows(out, in, true);
    const auto bias = d.coin() ? d.reals(out) : std::vector<float>{};
    const auto packed_group = type == dtype::i8 || type == dtype::i4 ? group : 0;
    const auto alone = gpu::pack(type, w, out, in, packed_group, bias);
    const auto together = gpu::pack(
        type, out, in, packed_group,
        [&](std::int32_t first, std::int32_t count, float* to) {
          RC_ASSERT(first >= 0);
          RC_ASSERT(count <= 16);
          RC_ASSERT(first + count <= out);
          std::copy_n(w.data() + std::ptrdiff_t(first) * in, std::ptrdiff_t(count) * in, to);
        },
        team_of(3), bias);
    const auto same = [](const gpu::aligned_bytes& a, const gpu::aligned_bytes& b) {
      return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size()) == 0);
    };
    RC_ASSERT(same(alone.data, together.data));
    RC_ASSERT(same(alone.scale, together.scale));
    RC_ASSERT(same(alone.bias, together.bias));
  });

  property("a checkpoint's own int4 keeps every nibble, scale and zero", [](std::uint64_t seed) {
    op_data d(seed);
    const auto out = d.between(1, 40), in = d.between(1, 200), group = d.one_of({32, 64, 128, in}), zero = d.below(16);
    const auto groups = (in + group - 1) / group;
    std::vector<std::uint8_t> q(std::size_t(out) * std::size_t(in));
    for (auto& x : q) x = std::uint8_t(d.below(16));
    const auto scale = d.reals(std::int64_t(out) * groups);
    const auto packed = gpu::pack_i4(q, scale, zero, out, in, group);
    std::vector<float> back(q.size());
    gpu::unpack(packed, back);
    for (std::int32_t n = 0; n < out; ++n)
      for (std::int32_t k = 0; k < in; ++k)
        RC_ASSERT(back[std::size_t(n * in + k)] ==
                  float(int(q[std::size_t(n * in + k)]) - zero) * scale[std::size_t(n * groups + k / group)]);
  });

  property("what pads a matrix means 0", [](std::uint64_t seed) {
    op_data d(seed);
    const auto out = d.between(1, 40), in = d.between(1, 60), zero = d.below(16);
    std::vector<std::uint8_t> q(std::size_t(out) * std::size_t(in), std::uint8_t(zero)); // the matrix itself is 0 too
    const auto packed = gpu::pack_i4(q, d.reals(out), zero, out, in, in);
    for (std::size_t n = 0; n < packed.data.size(); ++n)
      RC_ASSERT(packed.data.as<std::uint8_t>()[n] == (zero | (zero << 4)));
    const auto i8 = gpu::pack(dtype::i8, std::vector<float>(q.size(), 0.0f), out, in, in);
    for (std::size_t n = 0; n < i8.data.size(); ++n) RC_ASSERT(i8.data.as<std::int8_t>()[n] == 0);
  });
}

} // namespace quadrant::test
