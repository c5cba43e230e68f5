#include "model/safetensors.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "model/json_fields.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;

constexpr std::uint64_t max_header_bytes = 100u << 20;

std::optional<tensor_type> parse_type(std::string_view word) {
  static const std::map<std::string_view, tensor_type> words = {
      {"BOOL", tensor_type::boolean}, {"U8", tensor_type::u8},           {"I8", tensor_type::i8},
      {"I16", tensor_type::i16},      {"U16", tensor_type::u16},         {"F16", tensor_type::f16},
      {"BF16", tensor_type::bf16},    {"I32", tensor_type::i32},         {"U32", tensor_type::u32},
      {"F32", tensor_type::f32},      {"I64", tensor_type::i64},         {"U64", tensor_type::u64},
      {"F64", tensor_type::f64},      {"F8_E4M3", tensor_type::f8_e4m3}, {"F8_E5M2", tensor_type::f8_e5m2}};
  const auto found = words.find(word);
  return found == words.end() ? std::nullopt : std::optional(found->second);
}

failure broken(std::string_view file, const std::string& what) {
  return {errc::corrupt, std::string(file) + ": " + what};
}

result<tensor_bytes> read_tensor(const std::string& name, const json& entry, std::span<const std::byte> data,
                                 std::string_view file) {
  const auto wrong = [&](const std::string& what) { return broken(file, "tensor " + shown_text(name) + " " + what); };
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string()) return wrong("has no dtype");
  const auto type = parse_type(entry["dtype"].get_ref<const std::string&>());
  if (!type) return wrong("has unknown dtype " + shown_text(entry["dtype"].get_ref<const std::string&>()));
  if (!entry.contains("shape") || !entry["shape"].is_array() || entry["shape"].size() > 8)
    return wrong("has no shape of at most 8 axes");

  tensor_bytes tensor{.type = *type, .shape = {}, .data = {}};
  std::uint64_t bytes = size_of(*type);
  for (const auto& axis : entry["shape"]) {
    if (!axis.is_number_unsigned()) return wrong("has a shape that is not made of whole numbers");
    const auto n = axis.get<std::uint64_t>();
    if (n > std::uint64_t(INT64_MAX) || __builtin_mul_overflow(bytes, n, &bytes))
      return wrong("has a shape that overflows 64 bits");
    tensor.shape.push_back(std::int64_t(n));
  }
  if (!entry.contains("data_offsets") || !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2 ||
      !entry["data_offsets"][0].is_number_unsigned() || !entry["data_offsets"][1].is_number_unsigned())
    return wrong("has no data_offsets [begin, end]");
  const auto begin = entry["data_offsets"][0].get<std::uint64_t>(), end = entry["data_offsets"][1].get<std::uint64_t>();
  if (begin > end) return wrong("ends before it begins");
  if (end > data.size())
    return wrong("lies outside the file, which has " + std::to_string(data.size()) + " bytes of data");
  if (end - begin != bytes)
    return wrong("has " + std::to_string(end - begin) + " bytes of data, but its shape needs " + std::to_string(bytes));
  tensor.data = data.subspan(begin, end - begin);
  return tensor;
}

/// The data part is covered exactly: no byte twice, none unnamed (a file that is two formats at once hides there).
result<void> check_cover(const tensor_map& tensors, std::span<const std::byte> data, std::string_view file) {
  std::vector<std::pair<const std::byte*, const tensor_map::value_type*>> starts;
  for (const auto& entry : tensors)
    if (!entry.second.data.empty()) starts.emplace_back(entry.second.data.data(), &entry);
  std::ranges::sort(starts);
  const std::byte* covered = data.data();
  for (const auto& [start, entry] : starts) {
    const auto& [name, tensor] = *entry;
    if (start < covered) return broken(file, "tensor " + shown_text(name) + " shares bytes with another");
    if (start > covered) return broken(file, "no tensor owns the bytes before " + shown_text(name));
    covered = start + tensor.data.size();
  }
  if (covered != data.data() + data.size()) return broken(file, "no tensor owns its last bytes");
  return {};
}

} // namespace

std::size_t size_of(tensor_type t) noexcept {
  switch (t) {
  case tensor_type::boolean:
  case tensor_type::u8:
  case tensor_type::i8:
  case tensor_type::f8_e4m3:
  case tensor_type::f8_e5m2: return 1;
  case tensor_type::i16:
  case tensor_type::u16:
  case tensor_type::f16:
  case tensor_type::bf16: return 2;
  case tensor_type::i32:
  case tensor_type::u32:
  case tensor_type::f32: return 4;
  case tensor_type::i64:
  case tensor_type::u64:
  case tensor_type::f64: return 8;
  }
  return 0;
}

result<tensor_map> parse_safetensors(std::span<const std::byte> file, std::string_view name) {
  std::uint64_t header_bytes = 0;
  if (file.size() < sizeof header_bytes) return broken(name, "shorter than a safetensors header");
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  if (header_bytes > max_header_bytes || header_bytes > file.size() - sizeof header_bytes)
    return broken(name, "its header claims " + std::to_string(header_bytes) + " bytes; the file has " +
                            std::to_string(file.size()) + " and a header at most " + std::to_string(max_header_bytes));
  const auto* text = reinterpret_cast<const char*>(file.data() + sizeof header_bytes);
  bool duplicate = false;
  std::set<std::string> keys;
  const auto header = json::parse(
      text, text + header_bytes,
      [&](int depth, json::parse_event_t event, json& parsed) {
        if (event == json::parse_event_t::key && depth == 1 && !keys.insert(parsed.get<std::string>()).second)
          duplicate = true;
        return depth < 8;
      },
      /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) return broken(name, "its header is not a JSON object");
  if (duplicate) return broken(name, "its header names a tensor twice");

  const auto data = file.subspan(sizeof header_bytes + header_bytes);
  tensor_map tensors;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") continue;
    QUADRANT_TRY(auto tensor, read_tensor(key, entry, data, name));
    tensors.emplace(key, std::move(tensor));
  }
  QUADRANT_TRY_VOID(check_cover(tensors, data, name));
  return tensors;
}

class checkpoint_files::mapped_file {
public:
  static result<std::shared_ptr<const mapped_file>> open(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return {errc::not_found, "cannot read " + path.string() + ": " + std::strerror(errno)};
    struct stat info {};
    void* place = MAP_FAILED;
    if (fstat(fd, &info) == 0 && info.st_size > 0)
      place = mmap(nullptr, std::size_t(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    ::close(fd);
    if (place == MAP_FAILED) return {errc::corrupt, path.string() + ": empty, or cannot be mapped"};
    return std::shared_ptr<const mapped_file>(
        new mapped_file(static_cast<const std::byte*>(place), std::size_t(info.st_size)));
  }
  ~mapped_file() { munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }
  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
  mapped_file(const std::byte* first, std::size_t size) : bytes_(first, size) {}
  std::span<const std::byte> bytes_;
};

namespace {

/// The files that an index names, or the one file there is without an index.
result<std::set<std::filesystem::path>> shards_of(const std::filesystem::path& path) {
  if (path.extension() == ".safetensors") return std::set{path};
  const auto index_path = path / "model.safetensors.index.json";
  std::ifstream index(index_path);
  if (!index) return std::set{path / "model.safetensors"};

  const auto parsed = json::parse(index, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("weight_map") || !parsed["weight_map"].is_object())
    return broken(index_path.string(), "has no weight_map");
  std::set<std::filesystem::path> shards;
  for (const auto& [tensor, file] : parsed["weight_map"].items()) {
    if (!file.is_string() ||
        file.get_ref<const std::string&>().find_first_of(std::string_view("/\0", 2)) != std::string::npos)
      return broken(index_path.string(), "tensor " + shown_text(tensor) + " names no file of this directory");
    shards.insert(path / file.get_ref<const std::string&>());
  }
  return shards;
}

} // namespace

result<checkpoint_files> checkpoint_files::open(const std::filesystem::path& path) {
  QUADRANT_TRY(const auto shards, shards_of(path));
  checkpoint_files files;
  files.path_ = path.string();
  for (const auto& shard : shards) {
    QUADRANT_TRY(auto file, mapped_file::open(shard));
    QUADRANT_TRY(auto tensors, parse_safetensors(file->bytes(), shard.string()));
    files.files_.push_back(std::move(file));
    for (auto& [key, tensor] : tensors)
      if (!files.tensors_.emplace(key, std::move(tensor)).second)
        return broken(path.string(), "tensor " + shown_text(key) + " is in two files");
  }
  return files;
}

result<tensor_bytes> checkpoint_files::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return {errc::not_found, path_ + ": has no tensor " + std::string(name)};
  return found->second;
}

void checkpoint_files::forget(std::span<const std::byte> bytes) const noexcept {
  constexpr std::uintptr_t page = 4096;
  const auto first = (reinterpret_cast<std::uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (first < end)
    madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED); // a mapping of a file: kept there
}

std::vector<std::string> checkpoint_files::names() const {
  std::vector<std::string> list;
  for (const auto& [name, tensor] : tensors_) list.push_back(name);
  return list;
}

} // namespace quadrant::model
