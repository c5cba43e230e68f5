#include <algorithm>
#include <cmath>
#include <fstream>

#include "gpu/math.hpp"
#include "model/tensor_reader.hpp"
#include "test/model/support.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

namespace {

/// A checkpoint of what the writer holds.
struct stored {
  explicit stored(const safetensors_writer& w) {
    write_file(folder.path() / "model.safetensors", w.bytes());
    auto opened = checkpoint_files::open(folder.path());
    REQUIRE(opened.ok());
    files = std::make_unique<checkpoint_files>(std::move(*opened));
  }
  temporary_folder folder;
  std::unique_ptr<checkpoint_files> files;
};

} // namespace

TEST_CASE("tensor_reader gives f32, bf16 and f16 as the same numbers") {
  safetensors_writer w;
  w.add<float>("f32", "F32", {4}, {1, -0.5f, 0, 65504});
  w.add<std::uint16_t>("bf16", "BF16", {3}, {0x3f80, 0xbf00, 0x0001});
  w.add<std::uint16_t>("f16", "F16", {8}, {0x3c00, 0xb800, 0x0000, 0x7bff, 0x0001, 0x83ff, 0x7c00, 0x8000});
  w.add<std::int32_t>("i32", "I32", {2}, {1, 2});
  const stored s(w);
  const tensor_reader reader(*s.files);
  CHECK(*reader.vector("f32", 4) == std::vector<float>{1, -0.5f, 0, 65504});
  CHECK(*reader.vector("bf16", 3) == std::vector<float>{1, -0.5f, 0x1p-133f});
  const auto half = *reader.vector("f16", 8);
  CHECK(half == std::vector<float>{1, -0.5f, 0, 65504, 0x1p-24f, -1023 * 0x1p-24f, INFINITY, 0});
  CHECK(std::signbit(half[7]));
  CHECK(reader.vector("i32", 2).error().message == "tensor i32: expected f32, f16 or bf16");
  CHECK(reader.vector("f32", 5).error().message == "tensor f32: expected 5 numbers");
  CHECK(reader.vector("no", 1).error().code == errc::not_found);
}

TEST_CASE("tensor_reader gives the rows that are asked for, and no more") {
  safetensors_writer w;
  w.add<float>("m.weight", "F32", {3, 2}, {0, 1, 10, 11, 20, 21});
  const stored s(w);
  const tensor_reader reader(*s.files);
  const auto m = reader.matrix("m", 3, 2);
  REQUIRE(m.ok());
  std::vector<float> to = {-1, -1, -1, -1, -1};
  m->read(1, 2, to.data());
  CHECK(to == std::vector<float>{10, 11, 20, 21, -1});
  CHECK(m->bytes(1, 2).size() == 4 * sizeof(float));
  CHECK(reader.matrix("m", 4, 2).error().code == errc::invalid_argument);
  CHECK(reader.matrix("m", 1, 3).error().message == "tensor m.weight: expected at least 1 rows of 3");
}

namespace {

/// Pages of files that this process has mapped in, in bytes.
std::int64_t file_pages() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssFile:")) return std::stoll(line.substr(8)) * 1024;
  return 0;
}

} // namespace

TEST_CASE("rows that were read and forgotten take no memory, and can be read again") {
  constexpr int rows = 2048, cols = 1024;
  std::vector<float> values(std::size_t(rows) * cols, 1.5f);
  safetensors_writer w;
  w.add<float>("m.weight", "F32", {rows, cols}, values);
  const stored s(w);
  const auto m = tensor_reader(*s.files).matrix("m", rows, cols);
  REQUIRE(m.ok());
  m->read(0, rows, values.data());
  const auto held = file_pages();
  s.files->forget(m->bytes(0, rows));
  CHECK(held - file_pages() > std::int64_t(values.size()) * 3); // of the 4 bytes each
  m->read(0, rows, values.data());
  CHECK(std::ranges::all_of(values, [](float v) { return v == 1.5f; }));
}

TEST_CASE("int4 is low nibble first, less 8, times the scale of its group") {
  // Two rows of 16, groups of 8. Row 0: 0..7, then 8..15; row 1: all 8 (zero), then all 0 (-8).
  safetensors_writer w;
  w.add<std::uint32_t>("m.weight_packed", "I32", {2, 2}, {0x76543210, 0xfedcba98, 0x88888888, 0x00000000});
  w.add<std::uint16_t>("m.weight_scale", "BF16", {2, 2}, {0x3f80, 0x3f00, 0x4000, 0xbf80}); // 1, 0.5, 2, -1
  const stored s(w);
  const tensor_reader reader(*s.files);
  const auto m = reader.matrix("m", 2, 16);
  REQUIRE(m.ok());
  CHECK(m->is_int4());
  CHECK(m->group() == 8);
  std::vector<float> to(32);
  m->read(0, 2, to.data());
  std::vector<float> expected;
  for (int i = 0; i < 8; ++i) expected.push_back(float(i - 8));
  for (int i = 0; i < 8; ++i) expected.push_back(float(i) * 0.5f);
  expected.insert(expected.end(), 8, 0.0f);
  expected.insert(expected.end(), 8, 8.0f);
  CHECK(to == expected);

  std::vector<std::uint8_t> q(16);
  std::vector<float> scale(2);
  m->read_int4(1, 1, q.data(), scale.data());
  CHECK(q == std::vector<std::uint8_t>{8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(scale == std::vector<float>{2, -1});
  CHECK(reader.matrix("m", 3, 16).error().code == errc::invalid_argument);
}

TEST_CASE("int4 whose parts do not fit is told so") {
  safetensors_writer w;
  w.add<std::uint32_t>("a.weight_packed", "I32", {1, 2}, {0, 0});
  w.add<std::uint16_t>("a.weight_scale", "BF16", {1, 3}, {0, 0, 0});
  w.add<std::uint32_t>("b.weight_packed", "I32", {1, 2}, {0, 0});
  w.add<float>("c.weight_packed", "F32", {1, 2}, {0, 0});
  for (const auto* name : {"d", "e"}) w.add<std::uint32_t>(std::string(name) + ".weight_packed", "I32", {1, 2}, {0, 0});
  for (const auto* part : {"d.weight_g_idx", "e.weight_zero_point"}) w.add<std::uint32_t>(part, "I32", {1}, {0});
  const stored s(w);
  const tensor_reader reader(*s.files);
  CHECK(reader.matrix("d", 1, 16).error().code == errc::unavailable);
  CHECK(reader.matrix("e", 1, 16).error().code == errc::unavailable);
  CHECK(reader.matrix("a", 1, 16).error().message == "tensor a.weight_scale: its shape does not fit a.weight_packed");
  CHECK(reader.matrix("b", 1, 16).error().code == errc::not_found);
  CHECK(reader.matrix("c", 1, 16).error().message == "tensor c.weight_packed: expected i32 words of 8 nibbles");
}
