#include <algorithm>
#include <vector>

#include "actors/arrivals.hpp"
#include "actors/landing.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors;

TEST_CASE("an arrival meets who waits for it, whichever comes first") {
  test::property("fires exactly when the last of the needed ones has come", [] {
    const auto needed = *rc::gen::inRange(1u, 6u);
    const auto before = *rc::gen::inRange(0u, needed + 1); // arrivals ahead of the wait
    arrivals meeting;
    gpu::event e;
    const arrival_key key{arrival_kind::gather, *rc::gen::inRange(0u, 4u), *rc::gen::arbitrary<std::uint64_t>()};
    for (unsigned i = 0; i < before; ++i) meeting.arrived(key);
    RC_ASSERT(!e.fired());
    meeting.expect(key, needed, e);
    for (auto i = before; i < needed; ++i) {
      RC_ASSERT(!e.fired());
      meeting.arrived(key);
    }
    RC_ASSERT(e.fired());
  });
}

TEST_CASE("arrivals of other keys do not count") {
  arrivals meeting;
  gpu::event e;
  meeting.expect({arrival_kind::combine, 1, 7}, 1, e);
  meeting.arrived({arrival_kind::combine, 1, 8});
  meeting.arrived({arrival_kind::combine, 0, 7});
  meeting.arrived({arrival_kind::gather, 1, 7});
  CHECK_FALSE(e.fired());
  meeting.arrived({arrival_kind::combine, 1, 7});
  CHECK(e.fired());
}

TEST_CASE("an op that needs nobody does not wait") {
  arrivals meeting;
  gpu::event e;
  meeting.expect({arrival_kind::combine, 0, 0}, 0, e);
  CHECK(e.fired());
}

namespace {

struct range {
  std::size_t first, end;
};
bool disjoint_within(std::vector<range> ranges, std::size_t bytes) {
  std::ranges::sort(ranges, {}, &range::first);
  std::size_t last = 0;
  for (const auto& r : ranges) {
    if (r.first < last || r.end > bytes) return false;
    last = r.end;
  }
  return true;
}

} // namespace

TEST_CASE("no two things land in one place") {
  test::property("gather parts of two turns and hand-overs of all slots", [] {
    const attention_landing l{.slots = *rc::gen::inRange(1u, 5u),
                              .tp = *rc::gen::inRange(1u, 5u),
                              .part_bytes = *rc::gen::inRange<std::size_t>(1, 5000),
                              .residual_bytes = *rc::gen::inRange<std::size_t>(0, 5000)};
    std::vector<range> ranges;
    for (std::uint32_t slot = 0; slot < l.slots; ++slot) {
      for (std::uint64_t turn = 0; turn < 2; ++turn)
        for (std::uint32_t rank = 0; rank < l.tp; ++rank)
          ranges.push_back({l.gather_offset(slot, turn, rank), l.gather_offset(slot, turn, rank) + l.part_bytes});
      ranges.push_back({l.residual_offset(slot), l.residual_offset(slot) + l.residual_bytes});
    }
    RC_ASSERT(disjoint_within(ranges, l.bytes()));
  });
  test::property("dispatched rows and scales of all callers and slots", [] {
    const dispatch_landing l{.callers = *rc::gen::inRange(1u, 5u),
                             .slots = *rc::gen::inRange(1u, 4u),
                             .rows = *rc::gen::inRange(1, 300),
                             .row_bytes = *rc::gen::inRange<std::size_t>(1, 600),
                             .scales = *rc::gen::arbitrary<bool>()};
    std::vector<range> ranges;
    for (std::uint32_t caller = 0; caller < l.callers; ++caller)
      for (std::uint32_t slot = 0; slot < l.slots; ++slot) {
        const auto row = l.first_row(caller, slot);
        ranges.push_back({l.row_offset(row), l.row_offset(row + l.rows)});
        if (l.scales) ranges.push_back({l.scale_offset(row), l.scale_offset(row + l.rows)});
      }
    RC_ASSERT(disjoint_within(ranges, l.bytes()));
  });
}
