#include <cstring>

#include "model/safetensors.hpp"
#include "test/model/support.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

namespace {

result<tensor_map> parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file.data(), file.size())), "x.safetensors");
}

/// A file of one header and `size` bytes of data.
result<tensor_map> parse_header(const std::string& header, std::size_t size = 16) {
  static std::string file; // the map points into it
  file = safetensors_bytes(header, std::string(size, 'd'));
  return parse(file);
}

std::string message_of(const result<tensor_map>& r) {
  REQUIRE(!r.ok());
  CHECK(r.error().code == errc::corrupt);
  CHECK(r.error().message.starts_with("x.safetensors: "));
  CHECK(r.error().message.find('\n') == std::string::npos);
  return r.error().message;
}

} // namespace

TEST_CASE("safetensors gives each tensor its shape and its bytes, where they lie in the file") {
  safetensors_writer w;
  w.add<float>("b", "F32", {2, 3}, {0, 1, 2, 3, 4, 5});
  w.add<std::uint16_t>("a", "BF16", {1}, {0x3f80});
  w.add<std::int32_t>("none", "I32", {0, 4}, {});
  const auto file = w.bytes();
  const auto tensors = parse(file);
  REQUIRE(tensors.ok());
  REQUIRE(tensors->size() == 3);
  const auto& b = tensors->find("b")->second;
  CHECK(b.type == tensor_type::f32);
  CHECK(b.shape == std::vector<std::int64_t>{2, 3});
  REQUIRE(b.data.size() == 24);
  float last = 0;
  std::memcpy(&last, b.data.data() + 20, sizeof last);
  CHECK(last == 5);
  CHECK(reinterpret_cast<const char*>(b.data.data()) == file.data() + file.size() - 26);
  CHECK(tensors->find("none")->second.data.empty());
}

TEST_CASE("safetensors passes over metadata") {
  const auto tensors = parse_header(
      R"({"__metadata__": {"format": "pt"}, "t": {"dtype": "U8", "shape": [16], "data_offsets": [0, 16]}})");
  REQUIRE(tensors.ok());
  CHECK(tensors->size() == 1);
}

TEST_CASE("a hostile safetensors header is one line of errc::corrupt") {
  const auto tensor = [](const char* fields) { return std::string("{\"t\": {") + fields + "}}"; };
  const auto says = [&](const std::string& header, const char* what) {
    const auto message = message_of(parse_header(header));
    INFO(message);
    CHECK(message.find(what) != std::string::npos);
  };
  says(tensor(R"("dtype": "F99", "shape": [4], "data_offsets": [0, 16])"), "unknown dtype");
  says(tensor(R"("shape": [4], "data_offsets": [0, 16])"), "no dtype");
  says(tensor(R"("dtype": "F32", "shape": 4, "data_offsets": [0, 16])"), "no shape");
  says(tensor(R"("dtype": "F32", "shape": [-4], "data_offsets": [0, 16])"), "whole numbers");
  says(tensor(R"("dtype": "F32", "shape": [4.0], "data_offsets": [0, 16])"), "whole numbers");
  says(tensor(R"("dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 16])"), "overflows");
  says(tensor(R"("dtype": "F32", "shape": [18446744073709551615], "data_offsets": [0, 16])"), "overflows");
  says(tensor(R"("dtype": "F32", "shape": [4], "data_offsets": [0])"), "no data_offsets");
  says(tensor(R"("dtype": "F32", "shape": [4], "data_offsets": [16, 0])"), "ends before it begins");
  says(tensor(R"("dtype": "F32", "shape": [8], "data_offsets": [0, 32])"), "outside the file");
  says(tensor(R"("dtype": "F32", "shape": [4], "data_offsets": [18446744073709551600, 18446744073709551615])"),
       "outside the file");
  says(tensor(R"("dtype": "F32", "shape": [3], "data_offsets": [0, 16])"), "its shape needs 12");
  says(tensor(R"("dtype": "F32", "shape": [1,1,1,1,1,1,1,1,4], "data_offsets": [0, 16])"), "at most 8 axes");
  says(R"({"a": {"dtype": "U8", "shape": [12], "data_offsets": [0, 12]},
           "b": {"dtype": "U8", "shape": [8], "data_offsets": [8, 16]}})",
       "shares bytes");
  says(R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
           "b": {"dtype": "U8", "shape": [8], "data_offsets": [8, 16]}})",
       "no tensor owns");
  says(tensor(R"("dtype": "U8", "shape": [4], "data_offsets": [0, 4])"), "no tensor owns its last bytes");
  says(R"({"t": {"dtype": "U8", "shape": [16], "data_offsets": [0, 16]},
           "t": {"dtype": "U8", "shape": [16], "data_offsets": [0, 16]}})",
       "names a tensor twice");
  says("[1, 2]", "not a JSON object");
  says("{", "not a JSON object");
  says(std::string(200000, '['), "not a JSON object");
}

TEST_CASE("a safetensors file that is too short, or whose header claims too much, is told so") {
  CHECK(message_of(parse("")).find("shorter than") != std::string::npos);
  CHECK(message_of(parse("1234567")).find("shorter than") != std::string::npos);
  std::string file = safetensors_bytes("{}", "");
  REQUIRE(parse(file).ok());
  for (const std::uint64_t claimed : {std::uint64_t(3), std::uint64_t(1) << 40, ~std::uint64_t(0)}) {
    std::memcpy(file.data(), &claimed, sizeof claimed);
    CHECK(message_of(parse(file)).find("its header claims " + std::to_string(claimed)) != std::string::npos);
  }
}

TEST_CASE("a checkpoint in shards is one checkpoint") {
  const temporary_folder folder;
  for (const char* name : {"one", "two"}) {
    safetensors_writer w;
    w.add<float>(name, "F32", {1}, {1});
    write_file(folder.path() / (std::string(name) + ".safetensors"), w.bytes());
  }
  const auto index = folder.path() / "model.safetensors.index.json";
  write_file(index, R"({"weight_map": {"one": "one.safetensors", "two": "two.safetensors"}})");
  {
    const auto files = checkpoint_files::open(folder.path());
    REQUIRE(files.ok());
    CHECK(files->names() == std::vector<std::string>{"one", "two"});
    CHECK(files->find("two").ok());
    CHECK(files->find("three").error().code == errc::not_found);
  }
  write_file(folder.path() / "two.safetensors", read_file(folder.path() / "one.safetensors"));
  CHECK(checkpoint_files::open(folder.path()).error().message.find("is in two files") != std::string::npos);
  write_file(index, R"({"weight_map": {"one": "../one.safetensors"}})");
  CHECK(checkpoint_files::open(folder.path()).error().code == errc::corrupt);
  write_file(index, R"({"weight_map": {"one": "three.safetensors"}})");
  CHECK(checkpoint_files::open(folder.path()).error().code == errc::not_found);
  write_file(index, "null");
  CHECK(checkpoint_files::open(folder.path()).error().message.find("has no weight_map") != std::string::npos);
}
