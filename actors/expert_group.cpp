#include "actors/expert_group.hpp"

#include <algorithm>

#include "actors/wire.hpp"

namespace quadrant::actors {

result<dispatch> dispatch::parse(const msg::arrival& message) {
  try { // a peer's pointers may be of another kind than the schema's
    const auto view = message.view();
    if (view->which() != wire::Arrival::DISPATCH) return {errc::corrupt, "something else than a dispatch"};
    const auto d = view->getDispatch();
    return dispatch{.caller = d.getCaller(),
                    .slot = d.getSlot(),
                    .ordinal = d.getOrdinal(),
                    .layer = d.getLayer(),
                    .counts = read_ints(d.getCounts()),
                    .reply_to = read(d.getReplyTo()),
                    .out = read(d.getOut())};
  } catch (const kj::Exception& e) {
    return {errc::corrupt, std::string("a malformed dispatch: ") + e.getDescription().cStr()};
  }
}

expert_host::expert_host(parts p)
    : parts_(std::move(p)),
      layout_(parts_.plan->dispatch_of(parts_.id.kind == role::prefill_experts ? role::prefill : role::decode)),
      landing_(layout_.bytes()), scratch_(launches),
      device_(std::make_unique<gpu::device>(parts_.name, parts_.team, parts_.pump)) {
  landing_ref_ = parts_.endpoint->register_memory({landing_.data(), landing_.size()}, "rows for " + parts_.name);
  stream_ = device_->make_stream();
  const auto& config = parts_.plan->config();
  const auto rows = layout_.first_row(layout_.callers, 0);
  for (auto& s : scratch_) {
    const auto place = [&](model::arena_cursor& c) {
      s.ffn = model::expert_scratch::take(c, parts_.numerics, rows, config.moe_intermediate_size);
      s.out =
          c.take<std::byte>(std::size_t(rows) * std::size_t(config.hidden_size) * bits(parts_.numerics.expert_row) / 8);
    };
    model::arena_cursor count(nullptr);
    place(count);
    s.memory = gpu::aligned_bytes(count.used());
    model::arena_cursor give(s.memory.data());
    place(give);
  }
}

/// First nothing runs any more, then nothing reads, then nothing can write.
expert_host::~expert_host() {
  device_.reset();
  open_.wait_for_none();
  parts_.endpoint->close_inbox(self_.inbox);
  parts_.endpoint->deregister(landing_ref_.key);
}

void expert_host::open(expert_actor group) {
  self_ = parts_.endpoint->self();
  self_.inbox = parts_.endpoint->open_inbox([group, failed = parts_.failed](std::span<const std::byte> message) {
    const auto arrived = from_bytes<wire::Arrival>(message);
    if (!arrived) return failed(arrived.error());
    caf::anon_send(group, *arrived);
  });
}

void expert_host::launch(std::uint32_t index, std::vector<dispatch> dispatches, expert_actor group) {
  stream_->launch([this, index, dispatches = std::move(dispatches), group = std::move(group)](gpu::team& team) {
    auto& s = scratch_[index];
    const auto num_experts = dispatches[0].counts.size();
    const auto layer = dispatches[0].layer;
    s.x_row.clear();
    s.offsets.assign(1, 0);
    std::vector<std::int32_t> next; // of each dispatch: its next row in the landing memory
    for (const auto& d : dispatches) next.push_back(layout_.first_row(d.caller, d.slot));
    for (std::size_t e = 0; e < num_experts; ++e) {
      for (std::size_t i = 0; i < dispatches.size(); ++i)
        for (auto n = dispatches[i].counts[e]; n > 0; --n) s.x_row.push_back(next[i]++);
      s.offsets.push_back(std::int32_t(s.x_row.size()));
    }
    gpu::act_view x;
    if (layout_.scales) {
      x.q = landing_.as<std::int8_t>();
      x.scale = reinterpret_cast<float*>(landing_.data() + layout_.scale_offset(0));
    } else {
      x.f = landing_.as<float>();
    }
    model::run_expert_ffn(*parts_.ops, team, parts_.numerics, parts_.layers[layer], x, s.x_row.data(), s.offsets.data(),
                          s.ffn, s.out);
    rows_done_.fetch_add(s.x_row.size(), std::memory_order_relaxed);
    answer(s, dispatches, index, group);
  });
}

/// Each caller's rows of each expert are contiguous in `out`, and so are their places at the caller.
void expert_host::answer(const scratch& s, const std::vector<dispatch>& dispatches, std::uint32_t index,
                         const expert_actor& group) {
  const auto row_bytes = std::size_t(parts_.plan->config().hidden_size) * bits(parts_.numerics.expert_row) / 8;
  const auto open_answers = std::make_shared<std::atomic<std::size_t>>(dispatches.size());
  std::vector<std::int32_t> taken(s.offsets.begin(), s.offsets.end() - 1); // of each expert: rows given back so far
  for (const auto& d : dispatches) {
    transport::transfer what{.slices = {}, .message = {}, .kind = transport::traffic::dispatch};
    std::size_t at = 0;
    for (std::size_t e = 0; e < d.counts.size(); ++e) {
      const auto rows = d.counts[e];
      if (rows == 0) continue;
      const auto bytes = std::size_t(rows) * row_bytes;
      what.slices.push_back(
          {{s.out + std::size_t(taken[e]) * row_bytes, bytes}, {d.out.key, d.out.offset + at, bytes}});
      taken[e] += rows;
      at += bytes;
    }
    what.message = to_bytes(msg::arrival::make([&](wire::Arrival::Builder& b) {
      auto a = b.initCombine();
      a.setSlot3(d.slot);
      a.setOrdinal3(d.ordinal);
    }));
    open_.submit(*parts_.endpoint, d.reply_to, std::move(what),
                 [open_answers, group, index, failed = parts_.failed](const result<void>& outcome) {
                   if (!outcome) failed(outcome.error());
                   if (open_answers->fetch_sub(1) == 1)
                     caf::anon_send(group, launched_atom::value, std::uint64_t(index));
                 });
  }
}

expert_group::expert_group(caf::actor_config& config, std::shared_ptr<expert_host> host)
    : observed(config, "expert group " + host->about().name), host_(std::move(host)) {
  for (std::uint32_t i = 0; i < expert_host::launches; ++i) idle_.push_back(i);
}

expert_group::behavior_type expert_group::make_behavior() {
  now("joining");
  return {[this](const msg::arrival& message) {
            auto d = dispatch::parse(message);
            if (!d) return host_->about().failed(d.error());
            if (!fits(*d))
              return host_->about().failed({errc::corrupt, "a dispatch that does not fit this expert group"});
            pending_[d->layer].push_back(std::move(*d));
            launch_all();
          },
          [this](launched_atom, std::uint64_t index) {
            idle_.push_back(std::uint32_t(index));
            launch_all();
          },
          [this](const msg::view&, const handles&) { now("serving"); },
          [this](const msg::status_query&) {
            return msg::status_report::make([this](wire::StatusReport::Builder& b) {
              write_gauges(b, {{"device_busy_seconds", busy_seconds(host_->device_times())},
                               {"expert_rows", double(host_->rows_done())}});
            });
          }};
}

bool expert_group::fits(const dispatch& d) const {
  const auto& about = host_->about();
  const auto& layout = host_->layout();
  if (d.caller >= layout.callers || d.slot >= layout.slots || d.layer >= about.layers.size()) return false;
  if (d.counts.empty() || d.counts.size() != about.layers[d.layer].gate_up.size()) return false;
  // A launch has room for one dispatch of each slot; a caller sends the next when it has the rows of the last.
  if (const auto same = pending_.find(d.layer); same != pending_.end())
    for (const auto& other : same->second)
      if (other.caller == d.caller && other.slot == d.slot) return false;
  std::int64_t rows = 0;
  for (const auto count : d.counts) {
    if (count < 0) return false;
    rows += count;
  }
  return rows > 0 && rows <= layout.rows;
}

void expert_group::launch_all() {
  while (!idle_.empty() && !pending_.empty()) {
    // The layer that most wait for; the lowest among equals.
    const auto best = std::ranges::max_element(
        pending_, [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
    const auto index = idle_.back();
    idle_.pop_back();
    auto dispatches = std::move(best->second);
    pending_.erase(best);
    host_->launch(index, std::move(dispatches), this);
  }
}

} // namespace quadrant::actors
