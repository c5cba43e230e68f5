// outbox and intake against each other, over connections that a test cuts where it likes: nothing is lost, nothing comes
// twice, and whatever was begun has its credit back.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "test/support/property.hpp"
#include "transport/intake.hpp"
#include "transport/outbox.hpp"

using namespace quadrant;
using namespace quadrant::transport;
using quadrant::test::property;
using std::chrono::milliseconds;

namespace {

/// A connection: pieces on their way there, answers and questions on their way.
struct lane {
  outbox::lane_id id;
  std::deque<std::pair<transfer_head, std::vector<std::byte>>> pieces;
  std::deque<std::pair<std::uint64_t, result<void>>> answers;
  std::deque<ask> asks;
  std::size_t being_written = 0; ///< of `pieces`, from the end
  bool is_filling = false;       ///< the first of `pieces` has begun to arrive
  bool sender_gone = false;      ///< the sender gave it up; what it carries may still arrive
};

struct fate {
  int endings = 0, deliveries = 0;
  result<void> outcome;
  bool ordered = false;
  traffic kind = traffic::control;
};

class world {
public:
  explicit world(std::uint32_t seed) : dice_(seed), out_({.piece_bytes = 64, .most_bytes = 4000}, credits_out_) {
    out_.grant(1 + dice_() % 20);
  }

  void run() {
    const auto steps = 200 + dice_() % 2000;
    for (std::uint32_t i = 0; i < steps; ++i) step();
    // Left alone, everything comes to an end.
    calm_ = true;
    open_lane();
    for (int i = 0; i < 100'000 && !all_ended(); ++i) step();
    RC_ASSERT(all_ended());
    RC_ASSERT(credits_out_ == 0u);
    for (const auto& [number, f] : fates_) {
      RC_ASSERT(f.endings == 1);
      RC_ASSERT(f.deliveries <= 1);
      if (f.outcome.ok()) RC_ASSERT(f.deliveries == 1);
    }
  }

private:
  void step() {
    switch (dice_() % 16) {
    case 0:
    case 1: return calm_ ? void() : submit();
    case 2: return std::ranges::count(lanes_, false, &lane::sender_gone) < 3 ? open_lane() : void();
    case 3: return calm_ || dice_() % 8 != 0 ? void() : break_lane();
    case 4: return calm_ || dice_() % 4 != 0 ? void() : cancel();
    case 5: return ask_again();
    case 6: return expire();
    default: break;
    }
    if (lanes_.empty()) return;
    auto& l = lanes_[dice_() % lanes_.size()];
    switch (dice_() % 5) {
    case 0: return write(l);
    case 1: return wrote(l);
    case 2:
    case 3: return arrive(l);
    default: return answers(l);
    }
  }

  void submit() {
    const auto number = ++numbers_;
    transfer what{.slices = {},
                  .message = std::vector<std::byte>(4),
                  .kind = traffic(dice_() % 3),
                  .timeout = dice_() % 4 == 0 ? milliseconds(dice_() % 300) : milliseconds(1'000'000),
                  .ordered = dice_() % 3 == 0};
    what.message[0] = std::byte(number >> 8), what.message[1] = std::byte(number);
    for (auto n = dice_() % 4; n > 0; --n) {
      const auto size = dice_() % 120;
      what.slices.push_back({std::span(memory_).first(size), {1, dice_() % 1000, size}});
    }
    auto& f = fates_[number];
    f.ordered = what.ordered, f.kind = what.kind;
    out_.submit(
        number, 9, std::move(what), [&f](const result<void>& outcome) { ++f.endings, f.outcome = outcome; }, now_,
        dice_() % 2 == 0);
  }
  void cancel() {
    if (numbers_ == 0) return;
    const auto number = std::uint32_t(1 + dice_() % numbers_);
    const bool had_ended = fates_.at(number).endings > 0;
    RC_ASSERT(out_.cancel(number) == !had_ended);
  }
  void open_lane() { lanes_.push_back({.id = ++lane_ids_, .pieces = {}, .answers = {}, .asks = {}}); }

  /// By the sender: what it has not written is lost.
  void give_up(lane& l) {
    if (std::exchange(l.sender_gone, true)) return;
    l.pieces.resize(l.pieces.size() - std::min(std::exchange(l.being_written, 0), l.pieces.size()));
    out_.lost(l.id);
  }
  /// The sender sees it first, or the receiver does; what it carries is lost, or still arrives.
  void break_lane() {
    if (lanes_.empty()) return;
    const auto at = std::ptrdiff_t(dice_() % lanes_.size());
    auto& l = lanes_[std::size_t(at)];
    give_up(l);
    l.answers.clear();
    if (dice_() % 2 == 0) return; // the receiver reads on
    in_.lane_gone(l.id);
    lanes_.erase(lanes_.begin() + at);
  }

  void write(lane& l) {
    if (l.sender_gone || l.being_written > 0) return;
    const auto parcel = out_.front(dice_() % 4 != 0);
    if (!parcel) return;
    l.pieces.emplace_back(parcel->head, std::vector(parcel->message.begin(), parcel->message.end()));
    RC_ASSERT(parcel->head.floor <= parcel->head.id);
    const bool copied = dice_() % 2 == 0;
    out_.take(l.id, copied);
    if (!copied) l.being_written = 1;
  }
  void wrote(lane& l) {
    if (l.sender_gone || l.being_written == 0) return;
    l.being_written = 0;
    out_.written(l.id);
  }

  /// A piece begins to arrive, or ends; only what is written can end.
  void arrive(lane& l) {
    if (!l.asks.empty() && !l.is_filling && (l.pieces.empty() || dice_() % 2 == 0)) {
      in_.raise_floor(l.asks.front().floor);
      if (l.asks.front().forget) in_.forget(l.asks.front().id, l.asks.front().after);
      deliver(l);
      if (const auto known = in_.outcome_of(l.asks.front().id)) l.answers.emplace_back(l.asks.front().id, *known);
      return l.asks.pop_front();
    }
    if (l.pieces.empty() || (l.pieces.size() == l.being_written && l.is_filling)) return;
    const auto& [head, message] = l.pieces.front();
    if (!std::exchange(l.is_filling, true)) {
      const auto opening = in_.begin(head, l.id);
      RC_ASSERT(opening.ok());
      wanted_[l.id] = opening->wanted;
      if (opening->stale != 0 && opening->stale != l.id) close_stale(opening->stale);
      return;
    }
    l.is_filling = false;
    if (wanted_[l.id]) {
      in_.end(head, message, dice_() % 20 == 0 ? result<void>(errc::corrupt, "bad") : result<void>());
      deliver(l);
    } else if (const auto known = in_.outcome_of(head.id)) {
      l.answers.emplace_back(head.id, *known);
    }
    l.pieces.pop_front();
  }
  void close_stale(intake::lane_id id) {
    in_.lane_gone(id);
    for (auto& l : lanes_)
      if (l.id == id) l.pieces.clear(), l.asks.clear(), l.is_filling = false, to_close_.insert(id);
  }
  void deliver(lane& l) {
    while (const auto whole = in_.next_ready()) {
      auto outcome = whole->outcome;
      if (outcome) {
        const auto number = std::uint32_t(whole->message.at(0)) << 8 | std::uint32_t(whole->message.at(1));
        auto& f = fates_.at(number);
        ++f.deliveries;
        if (f.ordered) RC_ASSERT(number > std::exchange(last_ordered_[f.kind], number));
        if (dice_() % 10 == 0) outcome = result<void>(errc::not_found, "nobody");
        if (!outcome) --f.deliveries; // refused
      }
      in_.settle(whole->id, outcome);
      l.answers.emplace_back(whole->id, outcome);
    }
  }
  void answers(lane& l) {
    if (to_close_.erase(l.id) > 0) {
      if (!l.sender_gone) out_.lost(l.id);
      const auto id = l.id;
      std::erase_if(lanes_, [&](const auto& other) { return other.id == id; });
      return;
    }
    if (l.sender_gone || l.answers.empty()) return;
    const auto [id, outcome] = l.answers.front();
    l.answers.pop_front();
    out_.answered(id, outcome);
  }
  /// What was written and not answered for some time.
  void ask_again() {
    for (auto& l : lanes_)
      if (!l.sender_gone && l.asks.empty() && l.answers.empty()) {
        for (const auto& one : out_.take_given_up())
          if (dice_() % 4 != 0) l.asks.push_back(one);
        for (const auto id : out_.unanswered(std::chrono::steady_clock::now()))
          l.asks.push_back({.id = id, .floor = out_.floor()});
        return;
      }
  }
  void expire() {
    now_ += milliseconds(dice_() % 20);
    out_.expire(now_, "there", [this](outbox::lane_id id) {
      for (auto& l : lanes_)
        if (l.id == id) give_up(l);
    });
  }
  [[nodiscard]] bool all_ended() const {
    return std::ranges::all_of(fates_, [](const auto& entry) { return entry.second.endings > 0; });
  }

  std::minstd_rand dice_;
  std::vector<std::byte> memory_ = std::vector<std::byte>(200);
  std::atomic<std::uint64_t> credits_out_{0};
  outbox out_;
  intake in_{1000};
  std::vector<lane> lanes_;
  std::map<intake::lane_id, bool> wanted_;
  std::set<intake::lane_id> to_close_;
  std::map<std::uint32_t, fate> fates_;           ///< by number
  std::map<traffic, std::uint32_t> last_ordered_; ///< number
  std::uint32_t numbers_ = 0;
  outbox::lane_id lane_ids_ = 0;
  outbox::time_point now_{};
  bool calm_ = false;
};

} // namespace

TEST_CASE("what is urgent begins although KV waits for all the answers that it may") {
  std::atomic<std::uint64_t> credits_out{0};
  outbox out({.piece_bytes = 64, .most_bytes = 1000}, credits_out);
  out.grant(8);
  const std::vector<std::byte> memory(2000);
  const auto submit = [&](std::uint64_t handle, traffic kind, std::size_t bytes) {
    out.submit(
        handle, 1, {.slices = {{std::span(memory).first(bytes), {1, 0, bytes}}}, .message = {}, .kind = kind},
        [](const result<void>&) {}, {}, false);
  };
  const auto leaves = [&] {
    std::size_t count = 0;
    for (; out.front(true); ++count) out.take(1, true);
    return count;
  };
  submit(1, traffic::kv, 2000); // alone it may pass the bytes
  submit(2, traffic::kv, 10);
  CHECK(leaves() == 1);
  submit(3, traffic::control, 10);
  submit(4, traffic::dispatch, 500);
  CHECK(leaves() == 2);
  out.answered(1, {});
  for (std::uint64_t handle = 5; handle < 20; ++handle) submit(handle, traffic::kv, 1);
  CHECK(leaves() == 4); // six of eight credits are KV's at most
  for (std::uint64_t handle = 20; handle < 30; ++handle) submit(handle, traffic::control, 1);
  CHECK(leaves() == 2);
  CHECK(credits_out == 8);
  out.fail_all({errc::cancelled, "over"});
  CHECK(credits_out == 0);
}

TEST_CASE("whatever a peer says, its intake stays whole, and takes each transfer at most once") {
  property(
      "heads, ends, questions and floors in any order, over three connections",
      [] {
        std::minstd_rand dice(*rc::gen::inRange(1u, 1u << 30));
        intake in(8);
        std::map<intake::lane_id, transfer_head> filling;
        std::set<std::uint64_t> taken;
        for (int i = 0; i < 400; ++i) {
          const intake::lane_id lane = 1 + dice() % 3;
          const std::uint64_t id = dice() % 30;
          switch (dice() % 6) {
          case 0: in.raise_floor(dice() % 4 == 0 ? id : 0); break;
          case 1: in.forget(id, dice() % 30); break;
          case 2: in.lane_gone(lane), filling.erase(lane); break;
          case 3:
          case 4: {
            if (filling.contains(lane)) break;
            transfer_head head{
                .id = id, .pieces = 1 + std::uint32_t(dice() % 3), .after = dice() % 3 == 0 ? dice() % 30 : 0};
            head.piece = std::uint32_t(dice() % head.pieces);
            const auto opening = in.begin(head, lane);
            if (opening && opening->wanted) {
              if (opening->stale != 0) in.lane_gone(opening->stale), filling.erase(opening->stale);
              filling[lane] = head;
            }
            break;
          }
          default:
            if (const auto found = filling.extract(lane)) in.end(found.mapped(), {}, {});
          }
          while (const auto whole = in.next_ready()) {
            if (whole->outcome) RC_ASSERT(taken.insert(whole->id).second);
            in.settle(whole->id, {});
          }
        }
      },
      500);
}

TEST_CASE("transfers over connections that break") {
  property(
      "each ends once, is delivered at most once, and once where it succeeded; all credits come home",
      [] { world(*rc::gen::inRange(1u, 1u << 30)).run(); }, 300);
}
