#include "model/checkpoint_writer.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "config/progress.hpp"

namespace quadrant::model {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// Appears under its name only once it is whole.
class new_file {
public:
  explicit new_file(fs::path file) : file_(std::move(file)), part_(file_.string() + ".part") {
    out_.open(part_, std::ios::binary | std::ios::trunc);
  }
  ~new_file() { // of a file that was not finished nothing stays
    std::error_code ignored;
    fs::remove(part_, ignored);
  }
  new_file(const new_file&) = delete;
  new_file& operator=(const new_file&) = delete;
  void write(const void* data, std::size_t size) { out_.write(static_cast<const char*>(data), std::streamsize(size)); }
  [[nodiscard]] bool good() const { return out_.good(); }
  result<void> finish() {
    out_.close();
    std::error_code error;
    if (!out_.fail()) fs::rename(part_, file_, error);
    if (out_.fail() || error) return cannot_write(file_, std::strerror(errno));
    return {};
  }

private:
  fs::path file_, part_;
  std::ofstream out_;
};

/// At the beginning of each file's header: what made it, so that only such files are ever written over.
std::string mark_of(const checkpoint_plan& plan) {
  return R"({"__metadata__":{"format":"pt","made_by":)" + json(plan.made_by).dump() + ",";
}

/// One file of tensors.
class shard_writer {
public:
  shard_writer(const checkpoint_plan& plan, fs::path file, std::span<const planned_tensor> tensors)
      : file_(std::move(file)), tensors_(tensors) {
    auto text = mark_of(plan) + "\"of\":" + json(plan.of).dump() + "}";
    for (const auto& t : tensors_) {
      const json entry{{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {data_bytes_, data_bytes_ + t.bytes}}};
      text += "," + json(t.name).dump() + ":" + entry.dump();
      data_bytes_ += t.bytes;
    }
    text += "}";
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const std::uint64_t size = text.size();
    head_.assign(reinterpret_cast<const char*>(&size), sizeof size);
    head_ += text;
  }

  [[nodiscard]] std::size_t data_bytes() const { return data_bytes_; }

  /// An earlier run has written just this.
  [[nodiscard]] bool is_there() const {
    std::error_code ignored;
    if (fs::file_size(file_, ignored) != head_.size() + data_bytes_) return false;
    std::ifstream in(file_, std::ios::binary);
    std::string head(head_.size(), '\0');
    return in.read(head.data(), std::streamsize(head.size())).good() && head == head_;
  }

  template <class Wrote>
  result<void> write(const tensor_source& fill, Wrote wrote) {
    new_file out(file_);
    out.write(head_.data(), head_.size());
    for (const auto& t : tensors_) {
      QUADRANT_TRY_VOID(fill(t, [&](std::span<const std::byte> bytes) {
        out.write(bytes.data(), bytes.size());
        wrote(bytes.size());
      }));
      if (!out.good()) return cannot_write(file_, std::strerror(errno));
    }
    return out.finish();
  }

private:
  fs::path file_;
  std::span<const planned_tensor> tensors_;
  std::string head_;
  std::size_t data_bytes_ = 0;
};

/// The tensors of each shard.
std::vector<std::span<const planned_tensor>> cut_shards(std::span<const planned_tensor> tensors,
                                                        std::size_t shard_bytes) {
  std::vector<std::span<const planned_tensor>> shards;
  std::size_t bytes = 0, first = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (i > first && bytes + tensors[i].bytes > shard_bytes) {
      shards.push_back(tensors.subspan(first, i - first));
      first = i, bytes = 0;
    }
    bytes += tensors[i].bytes;
  }
  shards.push_back(tensors.subspan(first));
  return shards;
}

/// A directory of ours loses what this run will not write, or has not finished; another's weights stop everything.
result<void> make_room(const checkpoint_plan& plan, const std::set<std::string>& names) {
  std::error_code error;
  const auto mark = mark_of(plan);
  std::vector<fs::path> stale{plan.out / "config.json", plan.out / "model.safetensors.index.json"};
  for (const auto& entry : fs::directory_iterator(plan.out, error)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::ifstream in(entry.path(), std::ios::binary);
    std::string head(sizeof(std::uint64_t) + mark.size(), '\0');
    in.read(head.data(), std::streamsize(head.size()));
    if (!std::string_view(head).substr(sizeof(std::uint64_t)).starts_with(mark))
      return {errc::invalid_argument, plan.out.string() + " holds weights that " + plan.made_by + " did not write (" +
                                          entry.path().filename().string() + "); name another directory"};
    if (!names.contains(entry.path().filename().string())) stale.push_back(entry.path());
  }
  for (const auto& file : stale) fs::remove(file, error);
  return {};
}

} // namespace

failure cannot_write(const fs::path& file, const std::string& why) {
  return {errc::unavailable, "cannot write " + file.string() + ": " + why};
}

result<void> write_text_file(const fs::path& file, const std::string& text) {
  new_file out(file);
  out.write(text.data(), text.size());
  return out.finish();
}

result<void> write_checkpoint(const checkpoint_plan& plan, const tensor_source& fill) {
  const auto cuts = cut_shards(plan.tensors, plan.shard_bytes);
  std::vector<shard_writer> shards;
  json index{{"metadata", json::object()}, {"weight_map", json::object()}};
  std::set<std::string> names;
  std::size_t total = 0, done = 0;
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    char name[64] = "model.safetensors";
    if (cuts.size() > 1) std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, cuts.size());
    for (const auto& t : cuts[i]) index["weight_map"][t.name] = name;
    names.insert(name);
    shards.emplace_back(plan, plan.out / name, cuts[i]);
    total += shards.back().data_bytes();
  }
  index["metadata"]["total_size"] = total;
  QUADRANT_TRY_VOID(make_room(plan, names));
  const auto wrote = [&](std::size_t bytes) {
    done += bytes;
    progress::report("writing weights", done >> 20, total >> 20, "MiB");
  };
  for (auto& shard : shards) {
    if (shard.is_there())
      wrote(shard.data_bytes());
    else
      QUADRANT_TRY_VOID(shard.write(fill, wrote));
  }
  if (cuts.size() > 1) QUADRANT_TRY_VOID(write_text_file(plan.out / "model.safetensors.index.json", index.dump(1)));
  return {};
}

} // namespace quadrant::model
