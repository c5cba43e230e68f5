#include "actors/loadgen/prompt_writer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace quadrant::actors::loadgen {
namespace {

/// Common words, for most tokenizers know them whole.
constexpr std::array<std::string_view, num_words> vocabulary = {
    "air",   "animal", "area",  "arm",    "art",     "bank",  "base",  "bird",  "blood",  "boat",   "body",  "book",
    "box",   "branch", "bread", "bridge", "car",     "case",  "cause", "cell",  "child",  "church", "city",  "class",
    "cloth", "coast",  "cold",  "color",  "country", "cover", "cut",   "day",   "dog",    "door",   "earth", "edge",
    "end",   "eye",    "face",  "family", "farm",    "field", "fire",  "fish",  "floor",  "flower", "food",  "foot",
    "force", "form",   "front", "fruit",  "game",    "glass", "gold",  "grass", "green",  "ground", "group", "hair",
    "hand",  "head",   "heart", "heat",   "high",    "horse", "house", "ice",   "iron",   "island", "key",   "king",
    "land",  "law",    "leaf",  "leg",    "level",   "life",  "light", "line",  "list",   "long",   "man",   "map",
    "mark",  "metal",  "money", "mother", "mouth",   "music", "name",  "night", "north",  "number", "paper", "part",
    "place", "plant",  "point", "power",  "rain",    "red",   "river", "road",  "rock",   "room",   "round", "salt",
    "sea",   "seed",   "ship",  "side",   "skin",    "small", "sound", "stone", "street", "sun",    "table", "time",
    "town",  "tree",   "wall",  "war",    "water",   "white", "wind",  "wood"};
static_assert(vocabulary.back() == "wood");

/// splitmix64: the next of a stream of 64 random bits.
std::uint64_t next(std::uint64_t& state) {
  auto z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

/// A stream of its own for each of `what`.
std::uint64_t seed_of(std::uint64_t seed, std::uint64_t what) {
  auto state = seed;
  state = next(state) ^ what;
  return next(state);
}

void append_words(std::string& to, std::uint64_t seed, std::size_t count) {
  for (; count > 0; --count) {
    if (!to.empty()) to += ' ';
    to += vocabulary[next(seed) % vocabulary.size()];
  }
}

} // namespace

std::string words_in_turn(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) (text += i == 0 ? "" : " ") += vocabulary[i % num_words];
  return text;
}

prompt_writer::prompt_writer(std::uint64_t seed, token_rate rate, std::int32_t block_tokens)
    : seed_(seed), rate_(rate),
      block_words_(std::size_t(std::max(1.0, std::round(double(block_tokens) / rate.per_word)))) {}

std::string prompt_writer::write(const trace_row& request, std::size_t index) const {
  auto left = std::size_t(std::max(1.0, std::round((request.input_tokens - rate_.overhead) / rate_.per_word)));
  std::string text;
  text.reserve(left * 6);
  for (const auto block : request.blocks) {
    const auto some = std::min(left, block_words_);
    append_words(text, seed_of(seed_, block), some);
    left -= some;
  }
  append_words(text, seed_of(~seed_, index), left);
  return text;
}

} // namespace quadrant::actors::loadgen
