// test/model/support.hpp: bytes of checkpoints made on the spot, and ways to break them.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck.h>

namespace quadrant::test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE_MESSAGE(in.good(), path.string());
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), std::streamsize(bytes.size()));
  REQUIRE_MESSAGE(out.good(), path.string());
}

inline std::filesystem::path default_model() {
  return std::filesystem::path(QUADRANT_SOURCE_DIR) / "model" / "default";
}

/// A random place in a text, between its characters.
inline std::size_t any_cut(std::string_view text) {
  auto cut = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
  while (cut < text.size() && (text[cut] & 0xC0) == 0x80) ++cut;
  return cut;
}

/// A new empty folder, gone with this object.
class temporary_folder {
public:
  temporary_folder() {
    auto pattern = (std::filesystem::temp_directory_path() / "quadrant-test-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~temporary_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

/// header length | header | data
inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  const std::uint64_t size = header.size();
  std::string file(sizeof size, '\0');
  std::memcpy(file.data(), &size, sizeof size);
  return file.append(header).append(data);
}

/// Collects tensors and writes them one after the other.
class safetensors_writer {
public:
  template <class Element>
  void add(const std::string& name, const char* type, const std::vector<std::int64_t>& shape,
           const std::vector<Element>& elements) {
    const auto begin = data_.size();
    data_.append(reinterpret_cast<const char*>(elements.data()), elements.size() * sizeof(Element));
    header_[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
  }
  [[nodiscard]] std::string bytes() const { return safetensors_bytes(header_.dump(), data_); }

private:
  nlohmann::json header_ = nlohmann::json::object();
  std::string data_;
};

/// `bytes` after one to four random changes, half of them within the first `hot` bytes. Call inside a property.
inline std::string mutated(std::string bytes, std::size_t hot = 1024) {
  const auto changes = *rc::gen::inRange(1, 5);
  for (int i = 0; i < changes && !bytes.empty(); ++i) {
    const auto reach = *rc::gen::arbitrary<bool>() ? std::min(hot, bytes.size()) : bytes.size();
    const auto at = *rc::gen::inRange<std::size_t>(0, reach);
    const auto size = std::min(*rc::gen::inRange<std::size_t>(1, 40), bytes.size() - at);
    switch (*rc::gen::inRange(0, 6)) {
    case 0: bytes[at] = char(bytes[at] ^ (1 << *rc::gen::inRange(0, 8))); break;
    case 1: bytes[at] = char(*rc::gen::arbitrary<std::uint8_t>()); break;
    case 2: bytes[at] = *rc::gen::elementOf(std::string("[]{}()\",:|%-0123456789eE.\\'\n <>")); break;
    case 3: bytes.erase(at, size); break;
    case 4: bytes.insert(at, bytes.substr(at, size)); break;
    default: bytes.resize(at); break;
    }
  }
  return bytes;
}

} // namespace quadrant::test
