// model/grammar/byte_trie.hpp: many byte strings as one tree, laid out so that an automaton tries them all in one pass.
//
//   a  an  ant  be        nodes, each before what is below it        a ─ n ─ t
//                         node.end jumps over what is below           b ─ e
//
// Units   12 bytes a node, 4 a string
// Threads any, once built
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace quadrant::model {

class byte_trie {
public:
  static constexpr std::size_t max_bytes = 0xFFFF; ///< of a string

  struct entry {
    std::string_view bytes; ///< 1 to max_bytes
    std::int32_t id;
  };
  /// Several entries may have the same bytes.
  explicit byte_trie(std::vector<entry> entries);

  /// Nodes [first, last): what is below one node, or some of it.
  struct range {
    std::uint32_t first, last;
  };
  struct child {
    range self; ///< the node and what is below it
    range below;
    std::span<const std::int32_t> ids; ///< of the strings that end here
  };
  [[nodiscard]] range all() const noexcept { return {0, std::uint32_t(nodes_.size() - 1)}; }
  /// The one on `byte`, directly in `of`; empty if there is none.
  [[nodiscard]] child find(range of, std::uint8_t byte) const noexcept;

  /// Calls `say(id)` for each string in `of` whose bytes, from the first of the range's nodes on, `from` lives through.
  template <class Automaton, class Say>
  void walk(range of, const Automaton& from, Say say) const {
    if (of.first == of.last) return;
    const std::size_t above = nodes_[of.first].depth;
    std::vector<Automaton> states(deepest_ + 1 - above, from);
    for (auto i = of.first; i < of.last;) {
      const auto& n = nodes_[i];
      auto& state = states[n.depth - above + 1];
      state = states[n.depth - above];
      if (!state.step(n.byte)) {
        i = n.end;
        continue;
      }
      for (const auto id : ids_at(i)) say(id);
      ++i;
    }
  }

  /// The most bytes of `set` that one string has.
  [[nodiscard]] int most_of(std::string_view set) const;
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

private:
  struct node {
    std::uint32_t end, first_id;
    std::uint16_t depth; ///< bytes before this one
    std::uint8_t byte;
  };
  [[nodiscard]] std::span<const std::int32_t> ids_at(std::uint32_t i) const noexcept {
    return {ids_.data() + nodes_[i].first_id, nodes_[i + 1].first_id - nodes_[i].first_id};
  }

  std::vector<node> nodes_; ///< and one behind the last
  std::vector<std::int32_t> ids_;
  std::size_t deepest_ = 0; ///< bytes of the longest string
};

} // namespace quadrant::model
