// model/text/pretokenizer.hpp: cuts text into the pieces that BPE never merges across.
// A chain of stages; each sees a piece of the one before as if it were a whole text.
// Threads any, once filled; a workspace has one owner
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/regex.hpp"

namespace quadrant::model {

class pretokenizer {
public:
  enum class delimiter : std::uint8_t {
    isolated, ///< matches and the gaps between them are pieces
    removed,  ///< only the gaps are
  };
  struct split {
    regex pattern;
    delimiter behaviour;
    bool invert; ///< gaps and matches change roles
  };
  class workspace {
    friend class pretokenizer;
    std::vector<regex::scan> scans_; ///< one a split
    std::vector<std::string_view> pieces_, next_;
    std::deque<std::string> prefixed_;
  };

  void add(split s) { splits_.push_back(std::move(s)); }
  /// Pieces that reach the stages after this one get a space in front, unless they have it.
  void prefix_space() { prefix_before_ = splits_.size(); }

  /// The pieces of `text` in order, none empty; valid until the next call, or until `text` or `work` goes.
  const std::vector<std::string_view>& cut(std::string_view text, workspace& work) const;

private:
  void prefix_all(workspace& work) const;

  static constexpr std::size_t never = SIZE_MAX;
  std::vector<split> splits_;
  std::size_t prefix_before_ = never; ///< which split; splits_.size(): after all
};

} // namespace quadrant::model
