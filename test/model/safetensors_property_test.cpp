#include "model/safetensors.hpp"
#include "test/model/support.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

TEST_CASE("no bytes crash the safetensors reader") {
  safetensors_writer w;
  w.add<float>("model.layers.0.weight", "F32", {2, 4}, std::vector<float>(8));
  w.add<std::uint16_t>("model.norm", "BF16", {6}, std::vector<std::uint16_t>(6));
  w.add<std::int32_t>("packed", "I32", {3}, std::vector<std::int32_t>(3));
  const auto good = w.bytes();
  property(
      "a changed file gives tensors inside it, or one line of errc::corrupt",
      [&] {
        const auto file = mutated(good);
        const auto bytes = std::as_bytes(std::span(file.data(), file.size()));
        const auto tensors = parse_safetensors(bytes, "f");
        if (!tensors) {
          RC_ASSERT(tensors.error().code == errc::corrupt);
          RC_ASSERT(tensors.error().message.find('\n') == std::string::npos);
          return;
        }
        for (const auto& [name, t] : *tensors) {
          std::uint64_t size = size_of(t.type);
          for (const auto axis : t.shape) size *= std::uint64_t(axis);
          RC_ASSERT(size == t.data.size());
          RC_ASSERT((t.data.empty() ||
                     (t.data.data() >= bytes.data() && t.data.data() + t.data.size() <= bytes.data() + bytes.size())));
        }
      },
      2000);
}
