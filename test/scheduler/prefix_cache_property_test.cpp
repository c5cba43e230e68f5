#include <algorithm>
#include <map>
#include <set>

#include "scheduler/prefix_cache.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::scheduler;
using quadrant::test::property;

TEST_CASE("prefix_cache finds what was published and not evicted, and nothing else") {
  property(
      "under random prompts of a few kinds",
      [](const std::vector<std::uint16_t>& calls) {
        const auto total = *rc::gen::inRange(1, 30);
        prefix_cache cache(total, true);
        using content = std::vector<std::int32_t>;                   // all tokens to the end of a block
        std::map<block_id, content> holds;                           // what was published in it last
        std::vector<std::pair<content, std::vector<block_id>>> used; // prompts in use
        for (const auto call : calls) {
          if (call % 3 == 0 && !used.empty()) { // a prompt ends
            const auto which = used.begin() + call / 3 % int(used.size());
            cache.pool().release(which->second);
            used.erase(which);
            continue;
          }
          content tokens;
          for (int b = 0, n = 1 + call / 8 % 5; b < n; ++b) // blocks of two kinds
            tokens.insert(tokens.end(), block_tokens, (call >> (8 + b)) & 1);
          tokens.resize(tokens.size() - std::size_t(call % 2) * 10);
          const auto full = std::int32_t(tokens.size()) / block_tokens;
          const auto most = std::min(full, std::int32_t(call / 16 % 7));
          auto blocks = cache.find(tokens, most);
          RC_ASSERT(std::int32_t(blocks.size()) <= most);
          for (std::size_t b = 0; b < blocks.size(); ++b)
            RC_ASSERT(holds.at(blocks[b]) ==
                      content(tokens.begin(), tokens.begin() + std::ptrdiff_t(b + 1) * block_tokens));
          cache.pool().retain(blocks);
          const auto own = cache.pool().allocate(full - std::int32_t(blocks.size()));
          if (!own) {
            RC_ASSERT(cache.pool().available() < full - std::int32_t(blocks.size()));
            cache.pool().release(blocks);
            continue;
          }
          for (const auto b : *own) holds.erase(b);
          blocks.insert(blocks.end(), own->begin(), own->end());
          cache.publish(tokens, blocks);
          cache.publish(tokens, blocks); // again
          for (std::int32_t b = 0; b < full; ++b)
            holds[blocks[std::size_t(b)]] = {tokens.begin(), tokens.begin() + std::ptrdiff_t(b + 1) * block_tokens};
          const auto found = cache.find(tokens, full); // now it is known, in these blocks or those that hold the same
          RC_ASSERT(std::int32_t(found.size()) == full);
          for (std::int32_t b = 0; b < full; ++b)
            RC_ASSERT(holds.at(found[std::size_t(b)]) == holds.at(blocks[std::size_t(b)]));
          used.emplace_back(tokens, blocks);
        }
        for (const auto& [tokens, blocks] : used) cache.pool().release(blocks);
        const auto books = cache.pool().books();
        RC_ASSERT(books.used == 0);
        RC_ASSERT(books.free + books.cached == total);
      },
      500);
}

TEST_CASE("prefix_cache that is off finds nothing") {
  prefix_cache cache(4, false);
  const std::vector<std::int32_t> tokens(128, 1);
  const auto blocks = cache.pool().allocate(2).value();
  cache.publish(tokens, blocks);
  CHECK(cache.find(tokens, 2).empty());
  cache.pool().release(blocks);
  CHECK(cache.pool().books().free == 4);
}
