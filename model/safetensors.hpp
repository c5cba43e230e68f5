// model/safetensors.hpp: the tensors of a checkpoint, mapped, never copied.
//
// File = u64-LE header length | JSON {name: {dtype, shape, data_offsets: [begin, end]}} | data, without holes. A
// directory holds model.safetensors, or shards that model.safetensors.index.json names.
// Errors  errc::not_found: no such file; errc::corrupt: file, tensor and what is wrong with it. A hostile header costs
//         nothing but this.
// Threads reading: any
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/result.hpp"

namespace quadrant::model {

enum class tensor_type : std::uint8_t {
  boolean,
  u8,
  i8,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  i64,
  u64,
  f64,
  f8_e4m3,
  f8_e5m2
};

/// Bytes of one element.
std::size_t size_of(tensor_type t) noexcept;

struct tensor_bytes {
  tensor_type type = tensor_type::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

using tensor_map = std::map<std::string, tensor_bytes, std::less<>>;

/// Reads the header at the start of `file` and gives each tensor its part of the rest. `name` is for messages.
result<tensor_map> parse_safetensors(std::span<const std::byte> file, std::string_view name);

class checkpoint_files {
public:
  /// `path` is a directory, or one .safetensors file.
  static result<checkpoint_files> open(const std::filesystem::path& path);

  [[nodiscard]] result<tensor_bytes> find(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> names() const;
  /// Lets the process's pages of a part of a tensor go, where they are whole; reading it again reads the file again.
  void forget(std::span<const std::byte> bytes) const noexcept;

private:
  class mapped_file;
  std::vector<std::shared_ptr<const mapped_file>> files_;
  tensor_map tensors_;
  std::string path_;
};

} // namespace quadrant::model
