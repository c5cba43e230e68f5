// model/text/bpe.hpp: byte-pair encoding: of all neighbours that may merge, the pair of lowest rank does, leftmost
// first.
// Cost    n log n in the bytes of a piece; a piece that is a whole token costs one look-up
// Threads any, after seal; a workspace has one owner
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "model/text/vocabulary.hpp"

namespace quadrant::model {

class bpe {
public:
  /// Memory that encode uses again and again.
  struct workspace {
    struct symbol {
      std::int32_t id, previous, next; ///< places in the piece; id is `vocabulary::none` once merged away
    };
    struct candidate {
      std::int32_t rank, place, left, right, merged;
    };
    std::vector<symbol> symbols;
    std::vector<candidate> heap;
  };

  /// Ranks count up in the order of these calls. The first rank of a pair stands.
  void add_merge(std::int32_t left, std::int32_t right, std::int32_t merged);
  /// Ends the adding. `whole_words`: a piece that is a token is that token, whatever the merges say (`ignore_merges`).
  /// `unknown` stands for bytes without a token; `vocabulary::none` drops them.
  void seal(const vocabulary& words, bool whole_words, std::int32_t unknown);

  void encode(const vocabulary& words, std::string_view piece, workspace& work, std::vector<std::int32_t>& ids) const;

private:
  struct merge { ///< of an open-addressed table, at most half full
    std::int32_t left = vocabulary::none, right = 0, rank = 0, merged = 0;
  };
  /// Where the merge of this pair is, or would go.
  [[nodiscard]] std::size_t slot_of(std::int32_t left, std::int32_t right) const noexcept;
  void consider(std::int32_t place, workspace& work) const;
  void merge_all(std::string_view piece, workspace& work, std::vector<std::int32_t>& ids) const;

  std::vector<merge> merges_ = std::vector<merge>(1024);
  std::int32_t num_merges_ = 0;
  std::array<std::int32_t, 256> byte_ids_{};
  std::int32_t unknown_ = vocabulary::none;
  std::vector<bool> whole_; ///< by id: does its text encode to itself alone?
};

} // namespace quadrant::model
