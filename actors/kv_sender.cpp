#include "actors/kv_sender.hpp"

#include <algorithm>
#include <atomic>

#include "actors/wire.hpp"

namespace quadrant::actors {
namespace {

/// A transfer waits its turn behind other KV for the same peer; a peer that is gone or hangs is found long before.
constexpr auto kv_timeout = std::chrono::minutes(5);

/// The data plane knows an address; whoever reads the error wants the worker, and its process.
failure name_the_lost(const topology& layout, const std::string& worker, const failure& why) {
  if (why.code != errc::peer_lost) return why;
  std::string text = "worker " + worker;
  for (const auto& process : layout.processes)
    if (std::ranges::find(process.runs, worker) != process.runs.end()) text += " of process " + process.name;
  return {why.code, text + " was lost while KV was on its way to it: " + why.message};
}

/// What a decode rank hears.
template <class Fill>
std::vector<std::byte> arrival(std::uint64_t request, Fill&& fill) {
  return to_bytes(msg::arrival::make(std::forward<Fill>(fill), request, 30));
}

} // namespace

bool outbound_kv::begin() {
  const std::lock_guard hold(mutex_);
  if (halted_) return false;
  ++open_;
  return true;
}

void outbound_kv::end() {
  const std::lock_guard hold(mutex_);
  if (--open_ == 0 && halted_) halted_();
}

void outbound_kv::halt(std::function<void()> tell) {
  const std::lock_guard hold(mutex_);
  if (halted_) return; // said twice
  halted_ = std::move(tell);
  if (open_ == 0) halted_();
}

void chunk_kv::layer_stored(std::int32_t layer) const {
  if (!outbound_->begin()) return;
  const auto& about = host_->about();
  std::vector<std::pair<const kv_target*, transport::transfer>> transfers;
  for (std::size_t t = 0; t < places_.size(); ++t) {
    const auto& to = (*targets_)[t];
    const auto bytes = to.layout.slice_bytes();
    for (auto rest = std::span(places_[t]); !rest.empty();) {
      const auto some = rest.first(std::min(rest.size(), transport::max_slices));
      rest = rest.subspan(some.size());
      transport::transfer what{.slices = {},
                               .message = arrival(request_,
                                                  [&](wire::Arrival::Builder& b) {
                                                    auto a = b.initKv();
                                                    a.setRequest5(request_);
                                                    a.setAttempt5(attempt_);
                                                    a.setSlices5(std::uint32_t(some.size()));
                                                  }),
                               .kind = transport::traffic::kv,
                               .timeout = kv_timeout,
                               .checksum = true};
      for (const auto& p : some) {
        const auto* from = host_->kv_bytes() + about.shard->kv.slice_offset(p.block, layer, p.head);
        const auto offset = to.layout.slice_offset(p.to_block, about.shard->spec.first_layer + layer, p.to_head);
        what.slices.push_back({{from, bytes}, {to.pool_key, offset, bytes}});
      }
      transfers.emplace_back(&to, std::move(what));
    }
  }
  struct ending {
    std::shared_ptr<const chunk_kv> chunk;
    std::atomic<std::size_t> open;
    std::mutex mutex;
    result<void> outcome{};
  };
  if (transfers.empty()) {
    report(layer, {});
    return outbound_->end();
  }
  const auto all = std::make_shared<ending>(shared_from_this(), transfers.size());
  for (auto& [to, what] : transfers)
    send(*to, std::move(what), [all, layer](const result<void>& outcome) {
      if (!outcome) {
        const std::lock_guard hold(all->mutex);
        all->outcome = outcome;
      }
      if (all->open.fetch_sub(1) > 1) return;
      all->chunk->report(layer, all->outcome);
      all->chunk->outbound_->end();
    });
}

void chunk_kv::first_tokens(std::span<const std::int32_t> tokens) const {
  if (!outbound_->begin()) return;
  send(targets_->front(),
       {.slices = {},
        .message = arrival(request_,
                           [&](wire::Arrival::Builder& b) {
                             auto a = b.initFirst();
                             a.setRequest6(request_);
                             a.setAttempt6(attempt_);
                             write_ints([&](unsigned n) { return a.initTokens6(n); }, tokens);
                             a.setEndedNs6(steady_clock::monotonic_ns());
                           })},
       [chunk = shared_from_this()](const result<void>& outcome) {
         if (!outcome) chunk->report(0, outcome);
         chunk->outbound_->end();
       });
}

void chunk_kv::send(const kv_target& to, transport::transfer what, completion done) const {
  host_->send(to.address, std::move(what),
              [plan = host_->about().plan, name = to.name, done = std::move(done)](const result<void>& outcome) {
                done(outcome ? outcome : name_the_lost(plan->layout(), name, outcome.error()));
              });
}

void chunk_kv::report(std::int32_t layer, const result<void>& outcome) const {
  caf::anon_send(ledger_, msg::kv_sent::make(
                              [&](wire::KvSent::Builder& b) {
                                b.setRequest(request_);
                                b.setAttempt(attempt_);
                                b.setWorker(row_);
                                b.setLayer(std::uint32_t(layer));
                                b.setFirstPosition(first_position_);
                                b.setEndPosition(end_position_);
                                if (!outcome) write(b.initProblem(), outcome.error());
                              },
                              request_));
}

kv_sender::kv_sender(attention_host& host, std::uint32_t row) : host_(host), row_(row) {
  const auto& about = host.about();
  if (about.id.rank == 0) return;
  // Replicated heads are sent by the lowest rank that has them.
  const auto below =
      *model::shape_of(about.plan->config(), about.plan->shard_of({role::prefill, about.id.stage, about.id.rank - 1}));
  first_own_head_ = std::max(0, below.first_kv_head + below.kv_heads - about.shard->shape.first_kv_head);
}

void kv_sender::connect(wire::View::Reader view) {
  const auto& plan = *host_.about().plan;
  std::vector<kv_target> targets;
  for (std::int32_t rank = 0; rank < plan.layout().decode_tp; ++rank) {
    const worker_id id{role::decode, 0, rank};
    const auto spec = plan.shard_of(id);
    const auto shape = *model::shape_of(plan.config(), spec);
    const auto worker = view.getWorkers()[plan.row_of(id)];
    targets.push_back({.name = plan.workers()[plan.row_of(id)],
                       .address = read(worker.getAddress()),
                       .pool_key = read(worker.getKvPool()).key,
                       .layout = model::kv_layout_of(plan.config(), spec, shape, plan.numerics(),
                                                     std::int32_t(plan.layout().decode_kv_blocks)),
                       .first_kv_head = shape.first_kv_head,
                       .end_kv_head = shape.first_kv_head + shape.kv_heads,
                       .kv_rank = spec.kv_rank()});
  }
  targets_ = std::make_shared<const std::vector<kv_target>>(std::move(targets));
}

std::vector<std::shared_ptr<const chunk_kv>> kv_sender::prepare(wire::MicroBatch::Reader step, const handles& beside) {
  std::erase_if(outbound_, [](const auto& entry) { return entry.second.expired(); });
  std::vector<std::shared_ptr<const chunk_kv>> made;
  const auto chunks = step.getChunks();
  for (unsigned i = 0; i < chunks.size(); ++i) {
    const auto c = chunks[i];
    made.emplace_back();
    if (c.getAllLogits()) continue;
    auto& known = outbound_[{c.getRequest(), c.getAttempt()}];
    auto outbound = known.lock();
    if (!outbound) known = outbound = std::make_shared<outbound_kv>();
    auto kv = std::make_shared<chunk_kv>();
    kv->host_ = &host_;
    kv->row_ = row_;
    kv->request_ = c.getRequest();
    kv->attempt_ = c.getAttempt();
    kv->first_position_ = c.getFirstPosition() == c.getCachedTokens() ? 0 : c.getFirstPosition();
    kv->end_position_ = c.getFirstPosition() + std::int32_t(c.getTokens().size());
    kv->ledger_ = as<kv_transfer_actor>(beside[2 * i + 1]);
    kv->outbound_ = std::move(outbound);
    kv->targets_ = targets_;
    for (const auto& to : *targets_) kv->places_.push_back(places_of(c, to));
    made.back() = std::move(kv);
  }
  return made;
}

std::vector<chunk_kv::place> kv_sender::places_of(wire::MicroBatch::Chunk::Reader chunk, const kv_target& to) const {
  const auto& shape = host_.about().shard->shape;
  const auto first_block = chunk.getSendFrom();
  const auto decode_blocks = chunk.getTo().getBlocks();
  const scheduler::kv_split split{read_ints(chunk.getTo().getSegmentEnds())};
  std::vector<chunk_kv::place> places;
  for (auto head = first_own_head_; head < shape.kv_heads; ++head) {
    const auto global = shape.first_kv_head + head;
    if (global < to.first_kv_head || global >= to.end_kv_head) continue;
    for (unsigned i = 0; i < decode_blocks.size(); ++i) {
      const auto block = first_block + std::int32_t(i);
      if (split.holder_of(block / scheduler::segment_blocks) != std::size_t(to.kv_rank)) continue;
      const auto add = [&](std::int32_t there) {
        places.push_back({chunk.getBlocks()[unsigned(block)], head, there, global - to.first_kv_head});
      };
      if (decode_blocks[i] >= 0) add(decode_blocks[i]);
      if (i + 1 == decode_blocks.size())
        for (const auto copy : chunk.getTo().getCopies()) add(copy);
    }
  }
  return places;
}

void kv_sender::halt(const msg::halt& message, const kv_transfer_actor& ledger) {
  const auto v = message.view();
  const auto tell = [request = v->getRequest(), attempt = v->getAttempt(), row = row_, ledger] {
    caf::anon_send(ledger, msg::halted::make([&](wire::Halted::Builder& b) {
                     b.setRequest(request);
                     b.setAttempt(attempt);
                     b.setWorker(row);
                   }));
  };
  const auto found = outbound_.find({v->getRequest(), v->getAttempt()});
  const auto outbound = found == outbound_.end() ? nullptr : found->second.lock();
  outbound ? outbound->halt(tell) : tell();
}

} // namespace quadrant::actors
