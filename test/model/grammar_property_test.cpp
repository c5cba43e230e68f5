#include <thread>

#include "model/grammar/grammar.hpp"
#include "model/grammar/token_masks.hpp"
#include "model/text/decoding.hpp"
#include "model/text/utf8.hpp"
#include "test/model/grammar_support.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::model;
using namespace quadrant::test;

namespace {

struct case_of_grammar {
  std::string name;
  tokenizer tokens;
  std::vector<std::int32_t> stops;
  std::int32_t width;
};

/// Vocabularies of bytes and of characters, large and tiny; logits wider than the vocabulary, and narrower.
std::vector<case_of_grammar> cases() {
  std::vector<case_of_grammar> list;
  list.push_back({"the embedded model", *tokenizer::open(default_model()), {4095, 4093}, 4096 + 70});
  list.push_back({"characters", character_level(), {2}, 300});
  list.push_back({"characters, two leads", character_level(2), {2}, 291});
  auto pieces = every_byte();
  random_numbers random(7);
  while (pieces.size() < 700) pieces.insert(json_piece(random));
  pieces.insert(
      {"]]]]]]]]", "}}}}", std::string(70, ' '), std::string(12, '['), std::string(110, '1'), "\"}]}]}]}\n\n"});
  auto made = byte_level(pieces);
  list.push_back({"pieces of JSON", made, {made.vocab_size() - 1, 1 << 20, -5}, made.vocab_size()});
  list.push_back({"narrow logits", made, {300}, 400});
  std::set<std::string> tiny;
  for (const char c : json_automaton::ways_out) tiny.insert({c});
  auto least = byte_level(tiny);
  list.push_back({"the least there is", least, {least.vocab_size() - 1}, least.vocab_size()});
  return list;
}

std::shared_ptr<const grammar_vocabulary> vocabulary_of(const case_of_grammar& c) {
  auto made = grammar_vocabulary::build(c.tokens, c.width, c.stops);
  REQUIRE_MESSAGE(made.ok(), c.name << (made.ok() ? "" : made.error().message));
  return *made;
}

bool is_stop(const case_of_grammar& c, std::int32_t id) {
  return id >= 0 && id < c.width && std::ranges::find(c.stops, id) != c.stops.end();
}

/// By the book, token by token: what the decoder makes of it, and whether the automaton lives through that.
bool may_follow(const case_of_grammar& c, json_automaton state, std::uint8_t leads, std::int32_t id) {
  if (state.complete()) return is_stop(c, id);
  if (id >= c.tokens.vocab_size() || c.tokens.is_special(id) || c.tokens.is_control(id) || is_stop(c, id)) return false;
  std::string said(c.tokens.bytes_of(id));
  if (said.empty()) return false;
  if (leads > 0) {
    decoding spoken;
    spoken.lead = c.tokens.lead().what;
    std::size_t left = leads;
    spoken.drop_lead(said, left);
  }
  return std::ranges::all_of(said, [&](char byte) { return state.step(std::uint8_t(byte)); });
}

std::vector<std::int32_t> ids_in(const std::vector<std::uint64_t>& mask) {
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; id < std::int32_t(mask.size() * 64); ++id)
    if (allows(mask, id)) ids.push_back(id);
  return ids;
}

} // namespace

TEST_CASE("a mask has the tokens that may follow, and no others") {
  for (const auto& c : cases()) {
    CAPTURE(c.name);
    const auto tokens = vocabulary_of(c);
    token_masks<json_automaton> masks(tokens);
    property(
        "its bits are what each token says by itself; kept masks are like those worked out",
        [&] {
          const auto text = random_start();
          const auto state = after(text);
          const bool begins = state == json_automaton();
          const auto leads = begins ? *rc::gen::inRange<int>(0, tokens->lead().most + 1) : 0;
          const auto mask = masks.of(state, std::uint8_t(leads));
          RC_ASSERT(mask->size() == std::size_t(c.width + 63) / 64);
          std::size_t allowed = 0;
          for (std::int32_t id = 0; id < c.width; ++id) {
            RC_ASSERT(allows(*mask, id) == may_follow(c, state, std::uint8_t(leads), id));
            allowed += std::size_t(allows(*mask, id));
          }
          const bool reached = tokens->cuts_characters() || utf8::settled_prefix(text) == text.size();
          RC_ASSERT(allowed > 0 || !reached);
          RC_ASSERT(allowed == ids_in(*mask).size());
          RC_ASSERT(*mask == masks.worked_out(state, std::uint8_t(leads)));
          RC_ASSERT(*mask == *masks.of(state, std::uint8_t(leads)));
          RC_ASSERT(masks.kept() <= 2 * masks.masks_a_generation);
        },
        400);
    CHECK(masks.kept() > 5);
  }
}

TEST_CASE("whatever a sampler picks from the masks, the client gets an object") {
  for (const auto& c : cases()) {
    CAPTURE(c.name);
    const auto tokens = vocabulary_of(c);
    const auto made = json_object_grammar(tokens);
    REQUIRE(made.ok());
    property(
        "random walks, closed at some length",
        [&] {
          random_numbers random(*rc::gen::arbitrary<std::uint64_t>());
          const auto start = random.once_in(2) ? text_start::own : text_start::continued;
          auto state = (*made)->start(start);
          token_decoder decoder(c.tokens, true, start);
          std::string text;
          const auto say = [&](std::int32_t id) {
            RC_ASSERT(state->advance(id));
            text += decoder.push(id);
          };
          // Most tokens are plain text: half the time, none of those.
          for (int n = random.below(120); n > 0 && !state->complete(); --n) {
            const auto mask = state->mask();
            const auto allowed = ids_in(*mask);
            RC_ASSERT(!allowed.empty());
            auto picked = allowed;
            if (random.once_in(2)) std::erase_if(picked, [&](auto id) { return allows(tokens->plain(), id); });
            say(random.one_of(picked.empty() ? allowed : picked));
          }
          const auto ways = std::string(json_automaton::ways_out) + std::string(json_automaton::ways_out_of_character);
          for (int n = 0; !state->complete(); ++n) {
            RC_ASSERT(n < 300);
            const auto allowed = ids_in(*state->mask());
            const auto is = [&](char way) {
              return std::ranges::find_if(allowed,
                                          [&](auto id) { return tokens->bytes(id) == std::string_view(&way, 1); });
            };
            const auto way = std::ranges::find_if(ways, [&](char w) { return is(w) != allowed.end(); });
            RC_ASSERT(way != ways.end());
            say(*is(*way));
          }
          RC_LOG() << text;
          RC_ASSERT(decoder.flush().empty());
          RC_ASSERT(is_bounded_object(text));
          std::string valid;
          utf8::append_valid(text, valid);
          RC_ASSERT(valid == text);
          for (const auto id : ids_in(*state->mask())) RC_ASSERT(is_stop(c, id));
          RC_ASSERT(allows(*state->mask(), c.stops[0]));
          RC_ASSERT(state->advance(c.stops[0]));
        },
        150);
    property(
        "advance takes what the mask has, and what it refuses changes nothing",
        [&] {
          random_numbers random(*rc::gen::arbitrary<std::uint64_t>());
          auto state = (*made)->start();
          for (int n = 0; n < 15; ++n) {
            const auto mask = state->mask();
            for (int tries = 0; tries < 40; ++tries) {
              const auto id = random.below(c.width + 20) - 10;
              const auto copy = state->copy();
              RC_ASSERT(copy->advance(id) == allows(*mask, id));
              if (!allows(*mask, id)) RC_ASSERT(*copy->mask() == *mask);
            }
            RC_ASSERT(*state->mask() == *mask);
            RC_ASSERT(state->advance(random.one_of(ids_in(*mask))));
            if (state->complete()) break;
          }
        },
        60);
  }
}

TEST_CASE("masks are kept within their bound, and shared by threads") {
  const auto c = cases()[3];
  token_masks<json_automaton> masks(vocabulary_of(c));
  const token_masks<json_automaton> alone(vocabulary_of(c));
  const auto held = masks.of(after("{\"a\":"));
  // Brackets in every order: more states than are kept, and every thread in its own order.
  const auto state_of = [](int n) {
    std::string text = "{\"a\":";
    for (int bit = 0; bit < 12; ++bit) text += (n >> bit & 1) != 0 ? "[" : "{\"a\":";
    return after(text);
  };
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      random_numbers random(std::uint64_t(t) + 1);
      for (int i = 0; i < 1500; ++i) {
        const auto state = state_of(random.once_in(3) ? random.below(20) : random.below(4096));
        const auto mask = masks.of(state);
        if (*mask != alone.worked_out(state) || masks.kept() > 2 * masks.masks_a_generation) ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(masks.kept() > masks.masks_a_generation);
  CHECK(*held == alone.worked_out(after("{\"a\":")));
}

TEST_CASE("states that no token can tell apart share a mask") {
  token_masks<json_automaton> masks(vocabulary_of(cases().back())); // its tokens are single bytes: they see two levels
  for (int n = 0; n < 64; ++n) {
    std::string text = "{\"a\":";
    for (int bit = 0; bit < 6; ++bit) text += (n >> bit & 1) != 0 ? "[" : "{\"a\":";
    CHECK(masks.of(after(text + "[[")) == masks.of(after("{\"b\":[{\"c\":[[")));
    CHECK(masks.of(after(text + "[[10 ")) == masks.of(after("{\"b\":{\"c\":[[1.5\n\n")));
    CHECK(masks.of(after(text + "[[12345")) == masks.of(after("{\"b\":{\"c\":[[1")));
  }
  CHECK(masks.kept() == 3);
}
