// model/text/pretokenizer.hpp: cuts text into the pieces that BPE never merges across.
// A chain of stages; each sees a piece of the one before as if it were a whole text. Without stages a text is a piece.
// Threads any, once filled; a workspace has one owner
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
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
  /// Pieces get a space in front, unless they have it.
  struct space_in_front {};
  /// Spaces become marks.
  struct metaspace {
    enum class front : std::uint8_t { never, first, always };
    std::string mark;
    front marked; ///< which pieces get a mark in front, unless they have it; first: the one that begins the whole text
    bool cuts;    ///< before each mark
  };
  using stage = std::variant<split, space_in_front, metaspace>;

  class workspace {
    friend class pretokenizer;
    std::vector<std::optional<regex::scan>> scans_; ///< of the stages that are splits
    std::vector<std::string_view> pieces_, next_;
    std::deque<std::string> made_; ///< pieces that are no part of the text
  };

  void add(stage s) { stages_.push_back(std::move(s)); }

  /// The pieces of `text` in order, none empty; valid until the next call, or until `text` or `work` goes.
  /// `begins`: nothing precedes `text` in the whole text.
  const std::vector<std::string_view>& cut(std::string_view text, bool begins, workspace& work) const;

private:
  static void append_marked(const metaspace& m, std::string_view piece, bool is_first, workspace& work);

  std::vector<stage> stages_;
};

} // namespace quadrant::model
