// actors/http/tool_call_parser.hpp: finds the calls of tools in an answer that comes in pieces.
//
//   text ──▶ "text"          until a marker:      a marker's beginning is held back
//   marker ─▶ head           held back            no call after all: it comes out as text
//   {…} ────▶ arguments      as they come         to the brace that closes them, or the end of the answer
//   marker ─▶ nothing        and text again       spaces between calls, and before the first, are nothing
//
// What comes out is the same however the text is cut. Once arguments have begun it is a call, whatever they say:
// a client checks them, as the API warns.
// Threads one owner
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "actors/http/tool_call_format.hpp"
#include "actors/http/tool_call_head.hpp"
#include "actors/http/utterance.hpp"

namespace quadrant::actors::http {

class tool_call_parser {
public:
  struct settings {
    tool_call_format format = tool_call_format::none;
    std::shared_ptr<const nlohmann::ordered_json> tools{}; ///< a list
    bool only_one = false;                                 ///< nothing is wanted after the first call
  };
  explicit tool_call_parser(settings how) : how_(std::move(how)) {}

  void push(std::string_view text, utterance& to);
  /// The text has ended.
  void flush(utterance& to);
  [[nodiscard]] bool called() const noexcept { return num_calls_ > 0; }
  [[nodiscard]] bool done() const noexcept { return done_; } ///< the only one has come

private:
  enum class place : std::uint8_t { text, section, head, arguments, object_end, closing, list };
  enum class answer : std::uint8_t { no, yes, wait };

  bool step(utterance& to);
  bool find_marker(utterance& to);
  bool find_bare_object(utterance& to);
  bool in_section(utterance& to);
  bool read_head(utterance& to);
  bool pass_arguments(utterance& to);
  bool end_object();
  bool close_call();
  bool in_list();

  void say(std::string_view text, utterance& to);
  void give_back(utterance& to);
  void begin_call(std::string name, utterance& to);
  void expect(head_form form);
  void enter(place next) { place_ = next; }
  /// Takes `word` and the spaces before it off the text; `taken` gets both.
  answer take(std::string_view word, std::string* taken = nullptr);

  settings how_;
  place place_ = place::text;
  std::string held_;   ///< what has come and is still to be read
  std::string marker_; ///< what led here, and is text if no call follows
  std::string gap_;    ///< spaces before the first words, or between calls
  std::optional<tool_call_head> head_;
  json_span span_;
  std::size_t scanned_ = 0;               ///< bytes of held_ that span_ has seen
  std::vector<std::string_view> closers_; ///< that may follow, last first
  head_form form_{};                      ///< of the call under way
  std::int32_t num_calls_ = 0;
  bool spoken_ = false;  ///< words since the beginning, or the last call
  bool plain_ = false;   ///< bare: the rest is text
  bool in_list_ = false; ///< bracketed: the calls stand in a list
  bool ended_ = false, done_ = false;
};

} // namespace quadrant::actors::http
