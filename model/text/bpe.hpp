// model/text/bpe.hpp: byte-pair encoding: of all neighbours that may merge, the pair of lowest rank does, leftmost
// first.
// Cost    n log n in the bytes of a piece; a piece that is a whole token costs one look-up, and so does a word of a long
//         piece, where no merge reaches from one word into the next
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

    void add(std::int32_t id) {
      const auto place = std::int32_t(symbols.size());
      symbols.push_back({id, place - 1, place + 1});
    }
  };

  /// What merging begins with.
  struct rules {
    bool by_character = false; ///< a token for each character; else for each byte
    bool whole_words = false;  ///< a piece that is a token is that token, whatever the merges say (`ignore_merges`)
    /// Stand for the bytes of a character that has no token; `vocabulary::none`: there is none for this byte.
    std::array<std::int32_t, 256> byte_tokens = none_at_all();
    std::int32_t unknown = vocabulary::none; ///< stands for what has no token at all; `vocabulary::none` drops it
    bool fuse_unknown = false;               ///< for neighbours together

    static constexpr std::array<std::int32_t, 256> none_at_all() {
      std::array<std::int32_t, 256> ids{};
      ids.fill(vocabulary::none);
      return ids;
    }
  };

  /// Ranks count up in the order of these calls. The last rank of a pair stands.
  void add_merge(std::int32_t left, std::int32_t right, std::int32_t merged);
  /// Ends the adding.
  void seal(const vocabulary& words, const rules& how);

  /// `with_unknown`: what has no token gives the unknown one; else nothing.
  void encode(const vocabulary& words, std::string_view piece, bool with_unknown, workspace& work,
              std::vector<std::int32_t>& ids) const;

private:
  struct merge { ///< of an open-addressed table, at most half full
    std::int32_t left = vocabulary::none, right = 0, rank = 0, merged = 0;
  };
  /// Where the merge of this pair is, or would go.
  [[nodiscard]] std::size_t slot_of(std::int32_t left, std::int32_t right) const noexcept;
  [[nodiscard]] bool merges_reach_into_next_word(const vocabulary& words) const;
  void encode_part(const vocabulary& words, std::string_view part, bool with_unknown, workspace& work,
                   std::vector<std::int32_t>& ids) const;
  void read_symbols(const vocabulary& words, std::string_view part, bool with_unknown, workspace& work) const;
  bool add_byte_tokens(std::string_view character, workspace& work) const;
  void consider(std::int32_t place, workspace& work) const;
  void merge_all(workspace& work, std::vector<std::int32_t>& ids) const;

  std::vector<merge> merges_ = std::vector<merge>(1024);
  std::int32_t num_merges_ = 0;
  rules rules_;
  std::array<std::int32_t, 256> single_ids_{}; ///< of bytes, or of the characters of ASCII
  bool words_are_parts_ = false;               ///< a piece is encoded word by word
  std::vector<bool> whole_;                    ///< by id: does its text encode to itself alone?
};

} // namespace quadrant::model
