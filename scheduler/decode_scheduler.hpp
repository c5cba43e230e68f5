// scheduler/decode_scheduler.hpp: the continuous batch of one decode replica, launched ahead.
//
//   reserve ─▶ start ─▶ schedule (credits) ─▶ … device … ─▶ commit ─▶ tokens, ends
//
// Step N+1 is scheduled while N runs: a row's input is then the token that N leaves on the device, and whether N's
// token ends the sequence is not known yet. A row that turns out to be past the end is dropped at commit: its epoch is
// old. A sequence reserves blocks for its prompt and all its new tokens at once, so decode never has to preempt.
// The samples of one request are sequences that share the full blocks of its prompt, and, where they can, a micro-batch:
// so a step reads them once. Requests share those that are full and in place when the later one reserves.
// Units   steps are numbered per micro-batch; a sequence's slot s belongs to micro-batch s mod m
// Holds   a slot and its blocks are free only when no step in flight has a row of it
// Threads one owner
#pragma once
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "config/result.hpp"
#include "scheduler/kv_split.hpp"
#include "scheduler/prefix_cache.hpp"

namespace quadrant::scheduler {

using sequence_id = std::uint64_t; ///< a request's

struct sequence_key {
  sequence_id id = 0;
  std::int32_t sample = 0;
  auto operator<=>(const sequence_key&) const = default;
};

struct decode_limits {
  std::int32_t max_sequences = 64;
  std::int32_t launch_ahead = 2; ///< steps of one micro-batch in flight
  std::int32_t micro_batches = 1;
  std::int32_t kv_split = 1; ///< workers that share heads, each with blocks of its own
  bool prefix_cache = true;  ///< requests share blocks; not where their KV is split, for each is split in its own way
};

enum class ending : std::uint8_t { none, stop, length, fault };

/// The samples of one request.
struct decode_sequences {
  sequence_id id = 0;
  std::vector<std::int32_t> prompt;
  std::int32_t max_new_tokens = 0; ///< of each
  std::vector<std::int32_t> stop_tokens;
  std::int32_t samples = 1;
};

/// Of one sample.
struct decode_lease {
  std::int32_t slot = 0;
  std::vector<block_id> blocks; ///< of positions 0 .. prompt + max_new - 1, each of the worker that holds it
  scheduler::kv_split split;    ///< which worker that is
};

struct decode_grant {
  std::vector<decode_lease> samples;
  std::int32_t cached_blocks = 0; ///< the first ones of each: their KV is in place
};

struct decode_row {
  sequence_key sequence;
  std::int32_t slot = 0;
  std::uint64_t epoch = 0;
  std::int32_t position = 0; ///< of the input token
  std::int32_t index = 0;    ///< of the token that it makes; the prefill made index 0
  std::int32_t token = 0;    ///< the input: a token, or -1 - slot for the one that is on the device
};

struct decode_step {
  std::uint64_t number = 0;
  std::int32_t micro_batch = 0;
  std::vector<decode_row> rows;
};

struct decode_outcome {
  sequence_key sequence;
  std::int32_t index = 0, token = 0;
  std::size_t row = 0; ///< of the step
  ending end = ending::none;
};

class decode_scheduler {
public:
  /// num_blocks: of each worker
  decode_scheduler(decode_limits limits, std::int32_t num_blocks);

  /// Errors  errc::out_of_blocks: wait for a sequence to end (or, cancelled, for its own last steps);
  ///         errc::invalid_argument: it could never fit, or has a lease
  result<decode_grant> reserve(const decode_sequences& s);
  /// The KV is in place and first_tokens (index 0 of each sample) are the next inputs. Idempotent; unknown sequences are
  /// ignored. A sample whose first token is the last one, or a fault (-1), has nothing to decode, and ends.
  void start(sequence_id id, std::span<const std::int32_t> first_tokens);
  /// Nothing where the micro-batch has no credit or no runnable sequence.
  std::optional<decode_step> schedule(std::int32_t micro_batch);
  /// The step in flight longest, with the token of each of its rows; -1 is a fault. A step known already is ignored.
  std::vector<decode_outcome> commit(std::int32_t micro_batch, std::uint64_t number,
                                     std::span<const std::int32_t> tokens);
  /// All samples. Idempotent; unknown sequences are ignored.
  void cancel(sequence_id id);
  void cancel(const sequence_key& which);

  [[nodiscard]] const decode_lease* lease_of(const sequence_key& which) const;
  /// Is a sample of the request still to be decoded?
  [[nodiscard]] bool decodes(sequence_id id) const;
  [[nodiscard]] block_books books() const noexcept; ///< of all workers that share heads
  [[nodiscard]] std::int32_t live() const noexcept { return std::int32_t(sequences_.size()); }
  [[nodiscard]] std::int32_t in_flight() const noexcept;
  [[nodiscard]] std::int32_t num_micro_batches() const noexcept { return limits_.micro_batches; }

private:
  struct sequence {
    std::shared_ptr<const decode_sequences> about;
    decode_lease lease;
    std::uint64_t epoch = 0;
    bool running = false;
    std::int32_t next_index = 1; ///< of the token that the next row makes
    std::int32_t first_token = 0;
    std::int32_t rows_in_flight = 0;
    bool ended = false;
  };
  /// How many blocks the samples of a request need: those of the prompt that all share, and those of each.
  struct demand {
    std::int32_t shared, each;
  };
  [[nodiscard]] result<void> could_ever_hold(const decode_sequences& s, demand wanted) const;
  result<decode_grant> take_blocks(const decode_sequences& s, demand wanted);
  void give_back(const decode_lease& lease);
  std::int32_t take_slot(std::optional<std::int32_t> beside);
  void end(sequence& s);
  void free_if_unused(const sequence_key& which);
  /// The samples of a request.
  template <class Call>
  void each_of(sequence_id id, Call call);

  decode_limits limits_;
  std::vector<std::unique_ptr<prefix_cache>> pools_; ///< by kv_rank
  std::map<sequence_key, sequence> sequences_;
  std::set<std::int32_t> free_slots_;
  std::vector<std::deque<decode_step>> flying_; ///< by micro-batch
  std::vector<std::uint64_t> next_number_;
  std::uint64_t next_epoch_ = 1;
};

} // namespace quadrant::scheduler
