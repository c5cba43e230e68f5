// actors/kv_sender.hpp: hands over what one prefill shard makes: KV to the decode ranks that hold it, the first token to
// the first of them.
//
//   a layer of a chunk is stored ─▶ slices of the blocks that the chunk completes, a transfer for each decode rank
//                                ─▶ all ended: KvSent to the kv_transfer
//
// Nobody is asked first: a chunk says where its blocks go. A full block leaves when it is sealed, the last open one at the
// end of the prompt, to each of its samples. With the first chunk leaves what of the prompt was cached, unless the decode
// ranks have it too.
// Threads kv_sender: the shard's actor; chunk_kv: the device thread
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "actors/attention_host.hpp"
#include "actors/interfaces.hpp"
#include "gpu/kv_layout.hpp"
#include "scheduler/kv_split.hpp"

namespace quadrant::actors {

/// What of one attempt of a request is on the way from this shard.
class outbound_kv {
public:
  /// False: nothing may be sent any more.
  bool begin();
  void end();
  /// `tell` runs when nothing is on the way.
  void halt(std::function<void()> tell);

private:
  std::mutex mutex_;
  int open_ = 0;
  std::function<void()> halted_;
};

/// A decode rank.
struct kv_target {
  std::string name;
  transport::address address;
  std::uint64_t pool_key = 0;
  gpu::kv_layout layout;
  std::int32_t first_kv_head = 0, end_kv_head = 0; ///< in the model
  std::int32_t kv_rank = 0;
};

/// The KV of one chunk, and where it goes. The host outlives it.
class chunk_kv : public std::enable_shared_from_this<chunk_kv> {
public:
  void layer_stored(std::int32_t layer) const;
  /// Index 0 of each sample's answer: the prompt is computed.
  void first_tokens(std::span<const std::int32_t> tokens) const;

private:
  friend class kv_sender;
  /// One slice of every layer.
  struct place {
    std::int32_t block, head, to_block, to_head;
  };
  using completion = std::function<void(const result<void>&)>;
  void send(const kv_target& to, transport::transfer what, completion done) const;
  void report(std::int32_t layer, const result<void>& outcome) const;

  attention_host* host_ = nullptr;
  std::uint32_t row_ = 0; ///< of the shard
  std::uint64_t request_ = 0;
  std::uint32_t attempt_ = 0;
  std::int32_t first_position_ = 0, end_position_ = 0;
  kv_transfer_actor ledger_;
  std::shared_ptr<outbound_kv> outbound_;
  std::shared_ptr<const std::vector<kv_target>> targets_;
  std::vector<std::vector<place>> places_; ///< for each target
};

class kv_sender {
public:
  /// row: of the shard in the view. The host outlives it.
  kv_sender(attention_host& host, std::uint32_t row);

  void connect(wire::View::Reader view);
  /// Of each chunk of a micro-batch; null where nothing is handed over. beside: of each chunk, its request and its kv_transfer.
  std::vector<std::shared_ptr<const chunk_kv>> prepare(wire::MicroBatch::Reader step, const handles& beside);
  /// Sends nothing more of that attempt, and tells `ledger` Halted when nothing of it is on the way.
  void halt(const msg::halt& message, const kv_transfer_actor& ledger);

private:
  [[nodiscard]] std::vector<chunk_kv::place> places_of(wire::MicroBatch::Chunk::Reader chunk,
                                                       const kv_target& to) const;

  attention_host& host_;
  std::uint32_t row_;
  std::int32_t first_own_head_ = 0; ///< heads before it are replicas of those that a lower rank sends
  std::shared_ptr<const std::vector<kv_target>> targets_;
  /// By request and attempt; alive while a chunk of it is on the device, or a transfer under way.
  std::map<std::pair<std::uint64_t, std::uint32_t>, std::weak_ptr<outbound_kv>> outbound_;
};

} // namespace quadrant::actors
