#include "actors/slot_fabric.hpp"

#include <atomic>
#include <cstring>

#include "actors/wire.hpp"

namespace quadrant::actors {
namespace {

template <class Fill>
std::vector<std::byte> arrival(Fill&& fill) {
  return to_bytes(msg::arrival::make(std::forward<Fill>(fill), 0, 30));
}

/// Fires when all transfers of one op have ended; a failed one is reported, and the stream goes on: its step is lost
/// anyway.
class transfer_group {
public:
  transfer_group(std::shared_ptr<worker_link> link, std::size_t count, gpu::event all)
      : state_(std::make_shared<state>(std::move(link), count, std::move(all))) {
    if (count == 0) state_->all.fire();
  }
  void submit(const transport::address& to, transport::transfer what) {
    auto& link = *state_->link;
    link.open.submit(*link.endpoint, to, std::move(what), [s = state_](result<void> outcome) {
      if (!outcome) s->link->failed(outcome.error());
      if (s->open.fetch_sub(1) == 1) s->all.fire();
    });
  }

private:
  struct state {
    state(std::shared_ptr<worker_link> l, std::size_t n, gpu::event e)
        : link(std::move(l)), open(n), all(std::move(e)) {}
    std::shared_ptr<worker_link> link;
    std::atomic<std::size_t> open;
    gpu::event all;
  };
  std::shared_ptr<state> state_;
};

transport::remote_span within(transport::remote_span region, std::size_t offset, std::size_t bytes) {
  return {region.key, region.offset + offset, bytes};
}

} // namespace

void slot_fabric::hand_on(gpu::stream& s, const std::byte* from, std::size_t bytes, place_fn place, fill_fn fill) {
  gpu::event sent;
  s.launch([link = link_, slot = slot_, from, bytes, place, fill = std::move(fill), sent](gpu::team&) {
    const auto [next, offset] = place(*link, slot);
    transfer_group(link, 1, sent)
        .submit(next.address, {.slices = {{{from, bytes}, within(next.landing, offset, bytes)}},
                               .message = arrival(fill),
                               .kind = transport::traffic::dispatch});
  });
  s.wait(sent);
}

void slot_fabric::take_over(gpu::stream& s, arrival_key what, std::size_t landed, std::byte* to, std::size_t bytes) {
  gpu::event here;
  link_->arrived.expect(what, 1, here);
  s.wait(here);
  s.launch([link = link_, landed, to, bytes](gpu::team&) { std::memcpy(to, link->landing.data() + landed, bytes); });
}

void slot_fabric::send_next(gpu::stream& s, const std::byte* from, std::size_t bytes) {
  hand_on(
      s, from, bytes,
      [](const worker_link& link, std::uint32_t slot) {
        return std::pair(link.around.next_stage, link.next_layout.residual_offset(slot));
      },
      [slot = slot_, ordinal = sent_steps_++](wire::Arrival::Builder& b) {
        auto a = b.initResidual();
        a.setSlot2(slot);
        a.setOrdinal2(ordinal);
      });
}

void slot_fabric::receive_previous(gpu::stream& s, std::byte* to, std::size_t bytes) {
  take_over(s, {arrival_kind::residual, slot_, received_steps_++}, link_->landing_layout.residual_offset(slot_), to,
            bytes);
}

void slot_fabric::send_state(gpu::stream& s, const std::byte* from, std::size_t bytes) {
  hand_on(
      s, from, bytes,
      [](const worker_link& link, std::uint32_t slot) {
        return std::pair(link.around.tp_ranks[link.around.tp_rank + 1], link.next_layout.state_offset(slot));
      },
      [slot = slot_, ordinal = sent_states_++](wire::Arrival::Builder& b) {
        auto a = b.initState();
        a.setSlot4(slot);
        a.setOrdinal4(ordinal);
      });
}

void slot_fabric::receive_state(gpu::stream& s, std::byte* to, std::size_t bytes) {
  take_over(s, {arrival_kind::state, slot_, received_states_++}, link_->landing_layout.state_offset(slot_), to, bytes);
}

void slot_fabric::gather(gpu::stream& s, const gpu::gather_op& op) {
  const auto ordinal = gathers_++;
  const auto ranks = std::uint32_t(link_->around.tp_ranks.size()), every = std::uint32_t(op.every);
  const auto has_part = [every](std::uint32_t rank) { return (rank + 1) % every == 0; };
  const bool own_part = has_part(link_->around.tp_rank);
  std::size_t bytes = 0;
  for (const auto& array : op.arrays) bytes += std::size_t(op.rows) * std::size_t(array.part_bytes);
  QCHECK_LE(bytes, link_->landing_layout.part_bytes);
  gpu::event here;
  link_->arrived.expect({arrival_kind::gather, slot_, ordinal}, ranks / every - (own_part ? 1 : 0), here);
  if (own_part) {
    gpu::event sent;
    s.launch([link = link_, slot = slot_, ordinal, ranks, op, sent](gpu::team&) {
      transfer_group group(link, ranks - 1, sent);
      const auto self = link->around.tp_rank;
      for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        if (rank == self) continue;
        const auto& peer = link->around.tp_ranks[rank];
        transport::transfer what{.slices = {},
                                 .message = arrival([&](wire::Arrival::Builder& b) {
                                   auto a = b.initGather();
                                   a.setSlot(slot);
                                   a.setOrdinal(ordinal);
                                   a.setSource(self);
                                 }),
                                 .kind = transport::traffic::dispatch};
        auto place = link->landing_layout.gather_offset(slot, ordinal, self);
        for (const auto& array : op.arrays) {
          const auto size = std::size_t(op.rows) * std::size_t(array.part_bytes);
          if (size > 0) what.slices.push_back({{array.local, size}, within(peer.landing, place, size)});
          place += size;
        }
        group.submit(peer.address, std::move(what));
      }
    });
    s.wait(sent);
  }
  s.wait(here);
  s.launch([link = link_, slot = slot_, ordinal, ranks, every, has_part, op](gpu::team&) {
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      if (!has_part(rank)) continue;
      const bool own = rank == link->around.tp_rank;
      const auto* landed = link->landing.data() + link->landing_layout.gather_offset(slot, ordinal, rank);
      for (const auto& array : op.arrays) {
        if (array.part_bytes == 0) continue;
        const std::size_t part = std::size_t(array.part_bytes), row_bytes = ranks / every * part;
        const auto* from = own ? array.local : landed;
        for (std::int32_t row = 0; row < op.rows; ++row, from += part)
          if (auto* to = array.all + std::size_t(row) * row_bytes + rank / every * part; to != from)
            std::memcpy(to, from, part);
        landed += std::size_t(op.rows) * part;
      }
    }
  });
}

void slot_fabric::experts(gpu::stream& s, const gpu::expert_op& op) {
  const auto ordinal = dispatches_++;
  gpu::event sent, back;
  s.launch([link = link_, slot = slot_, ordinal, op, arena = arena_, key = arena_key_, sent, back](gpu::team&) {
    std::vector<const expert_peer*> busy;
    for (const auto& e : link->around.experts)
      if (op.offsets[e.end_expert] > op.offsets[e.first_expert]) busy.push_back(&e);
    link->arrived.expect({arrival_kind::combine, slot, ordinal}, std::uint32_t(busy.size()), back);
    transfer_group group(link, busy.size(), sent);
    const auto caller = link->around.caller;
    for (const auto* e : busy) {
      const auto first = op.offsets[e->first_expert], rows = op.offsets[e->end_expert] - first;
      const auto place = link->expert_layout.first_row(caller, slot);
      const std::size_t row_bytes = std::size_t(op.row_bytes), bytes = std::size_t(rows) * row_bytes;
      QCHECK_LE(rows, link->expert_layout.rows);
      transport::transfer what{.slices = {{{op.rows + std::size_t(first) * row_bytes, bytes},
                                           within(e->group.landing, link->expert_layout.row_offset(place), bytes)}},
                               .message = arrival([&](wire::Arrival::Builder& b) {
                                 auto d = b.initDispatch();
                                 d.setCaller(caller);
                                 d.setSlot(slot);
                                 d.setOrdinal(ordinal);
                                 d.setLayer(std::uint32_t(op.layer));
                                 auto counts = d.initCounts(unsigned(e->end_expert - e->first_expert));
                                 for (unsigned i = 0; i < counts.size(); ++i)
                                   counts.set(i, op.offsets[e->first_expert + std::int32_t(i) + 1] -
                                                     op.offsets[e->first_expert + std::int32_t(i)]);
                                 write(d.initReplyTo(), link->self);
                                 const std::size_t out_bytes = std::size_t(rows) * std::size_t(op.out_row_bytes);
                                 const auto out_offset = std::size_t(op.out - arena.data()) +
                                                         std::size_t(first) * std::size_t(op.out_row_bytes);
                                 write(d.initOut(), transport::remote_span{key, out_offset, out_bytes});
                               }),
                               .kind = transport::traffic::dispatch};
      if (op.scales != nullptr) {
        const std::size_t scale_bytes = std::size_t(rows) * sizeof(float);
        what.slices.push_back({std::as_bytes(std::span(op.scales + first, std::size_t(rows))),
                               within(e->group.landing, link->expert_layout.scale_offset(place), scale_bytes)});
      }
      group.submit(e->group.address, std::move(what));
    }
  });
  s.wait(sent);
  s.wait(back);
}

void take_arrival(worker_link& link, std::span<const std::byte> message) {
  const auto envelope = from_bytes<wire::Arrival>(message);
  if (!envelope) return link.failed(envelope.error());
  const auto view = envelope->view();
  switch (view->which()) {
  case wire::Arrival::GATHER:
    return link.arrived.arrived({arrival_kind::gather, view->getGather().getSlot(), view->getGather().getOrdinal()});
  case wire::Arrival::RESIDUAL:
    return link.arrived.arrived(
        {arrival_kind::residual, view->getResidual().getSlot2(), view->getResidual().getOrdinal2()});
  case wire::Arrival::STATE:
    return link.arrived.arrived({arrival_kind::state, view->getState().getSlot4(), view->getState().getOrdinal4()});
  case wire::Arrival::COMBINE:
    return link.arrived.arrived(
        {arrival_kind::combine, view->getCombine().getSlot3(), view->getCombine().getOrdinal3()});
  case wire::Arrival::KV:
  case wire::Arrival::FIRST:
    if (link.handed_over) return link.handed_over(*envelope);
    return link.failed({errc::corrupt, "KV came to a worker that takes none"});
  case wire::Arrival::DISPATCH: return link.failed({errc::corrupt, "a dispatch came to an attention worker"});
  }
}

} // namespace quadrant::actors
