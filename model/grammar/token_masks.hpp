// model/grammar/token_masks.hpp: which tokens may follow each state of an automaton, worked out once and kept.
//
//   state ─ within(horizon) ─▶ kept masks ─▶ mask
//             what a token        │ none
//             can see of it       ▼
//                 in a string: plain | walk of the small trie          elsewhere: walk of the whole trie
//
// Bounds  2 * masks_a_generation masks of width / 8 bytes: once so many are young, the old ones go (those that were asked
//         for meanwhile are young again). A mask that someone holds lives on.
// Threads any; two that miss the same mask both work it out
#pragma once
#include <concepts>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "model/grammar/grammar_vocabulary.hpp"

namespace quadrant::model {

/// A value that reads a text byte by byte. In every state it lives, some byte keeps it alive; json_automaton says more.
template <class A>
concept byte_automaton = std::regular<A> && requires(A a, const A& c, std::uint8_t byte, const typename A::horizon& h) {
  { a.step(byte) } -> std::same_as<bool>;
  { c.complete() } -> std::same_as<bool>; // only a stop token may follow
  { c.in_text() } -> std::same_as<bool>;  // every plain token may follow
  { c.within(h) } -> std::same_as<A>;
  { c.hash() } -> std::same_as<std::size_t>;
} && std::constructible_from<typename A::horizon, const grammar_vocabulary&>;

template <byte_automaton Automaton>
class token_masks {
public:
  static constexpr std::size_t masks_a_generation = 512;

  explicit token_masks(std::shared_ptr<const grammar_vocabulary> tokens)
      : tokens_(std::move(tokens)), horizon_(*tokens_) {}

  /// `leads`: how many of the vocabulary's leads the decoder would still take from what follows.
  [[nodiscard]] token_mask of(const Automaton& state, std::uint8_t leads = 0) {
    if (state.complete()) return tokens_->stops();
    const key seen{state.within(horizon_), leads};
    if (auto kept = find(seen)) return kept;
    auto mask = std::make_shared<const std::vector<std::uint64_t>>(worked_out(seen.state, leads));
    const std::scoped_lock lock(mutex_);
    return keep(seen, std::move(mask));
  }

  /// The same, from nothing kept.
  [[nodiscard]] std::vector<std::uint64_t> worked_out(const Automaton& state, std::uint8_t leads = 0) const {
    if (state.complete()) return *tokens_->stops();
    const bool text = state.in_text() && leads == 0;
    auto mask = text ? tokens_->plain() : std::vector<std::uint64_t>(tokens_->plain().size());
    const auto allow = [&](std::int32_t id) { mask[std::size_t(id) / 64] |= std::uint64_t(1) << std::size_t(id) % 64; };
    const auto& trie = text ? tokens_->not_plain() : tokens_->all();
    auto rest = trie.all();
    for (; leads > 0; --leads) { // what begins with a lead is read behind it
      const auto lead = trie.find(rest, tokens_->lead().byte);
      trie.walk({rest.first, lead.self.first}, state, allow);
      trie.walk({lead.self.last, rest.last}, state, allow);
      for (const auto id : lead.ids) allow(id);
      rest = lead.below;
    }
    trie.walk(rest, state, allow);
    return mask;
  }

  [[nodiscard]] std::size_t kept() const {
    const std::scoped_lock lock(mutex_);
    return young_.size() + old_.size();
  }
  [[nodiscard]] const grammar_vocabulary& tokens() const noexcept { return *tokens_; }

private:
  struct key {
    Automaton state;
    std::uint8_t leads;
    bool operator==(const key&) const = default;
  };
  struct key_hash {
    std::size_t operator()(const key& k) const noexcept { return k.state.hash() + k.leads; }
  };
  using generation = std::unordered_map<key, token_mask, key_hash>;

  token_mask find(const key& seen) {
    const std::scoped_lock lock(mutex_);
    if (const auto found = young_.find(seen); found != young_.end()) return found->second;
    const auto found = old_.find(seen);
    return found == old_.end() ? nullptr : keep(seen, found->second);
  }
  /// Called under the lock.
  token_mask keep(const key& seen, token_mask mask) {
    if (young_.size() == masks_a_generation) old_ = std::exchange(young_, {});
    return young_.try_emplace(seen, std::move(mask)).first->second;
  }

  std::shared_ptr<const grammar_vocabulary> tokens_;
  typename Automaton::horizon horizon_;
  mutable std::mutex mutex_;
  generation young_, old_;
};

} // namespace quadrant::model
