// actors/http/tool_call_head.hpp: reads the beginning of a tool call, which may still be growing: whose it is, and where
// its arguments begin.
//
// Arguments that come last in their call can be passed on while they are made; of a call that is written in another
// order everything is read first.
// Limits  the head of a call ends within 1,024 bytes, 256 spaces on end are no part of one; a call that is read as a whole
//         nests at most 64 deep
// Threads one owner
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace quadrant::actors::http {

/// Follows a JSON object or list, byte by byte, to its end. Looks at nothing but brackets and strings.
class json_span {
public:
  explicit json_span(int depth = 0) : depth_(depth) {}
  /// True at the byte that closes it.
  bool feed(char c) noexcept;

private:
  int depth_;
  bool quoted_ = false, escaped_ = false;
};

/// Walks along a text that may go on. Once something is not as asked, nothing moves any more.
class text_cursor {
public:
  enum class state : std::uint8_t { good, more, bad }; ///< more: the text ended too early to tell

  text_cursor(std::string_view text, bool may_grow) : text_(text), may_grow_(may_grow) {}
  void spaces() noexcept;
  void word(std::string_view expected) noexcept;
  void word(std::string_view expected, std::string_view or_this) noexcept;
  /// The text before `end`, which is passed too.
  std::string_view before(std::string_view end) noexcept;
  /// The next character stays; 0 where there is none.
  [[nodiscard]] char peek() noexcept;
  void refuse() noexcept {
    if (good()) state_ = state::bad;
  }
  [[nodiscard]] state now() const noexcept { return state_; }
  [[nodiscard]] bool good() const noexcept { return state_ == state::good; }
  [[nodiscard]] std::size_t at() const noexcept { return at_; }

private:
  std::string_view text_;
  bool may_grow_;
  state state_ = state::good;
  std::size_t at_ = 0;
};

/// How a call begins, after its marker.
enum class head_form : std::uint8_t {
  object,           ///< {"name": …, "arguments" or "parameters": {…}}
  function,         ///< NAME>{…}, or NAME>, parameters and </function>
  object_or_tagged, ///< the first, or <function= and the second
  args,             ///< NAME[ARGS]{…}, perhaps with [CALL_ID]ID before [ARGS]
  deepseek          ///< NAME<｜tool▁sep｜>{…}, or function<｜tool▁sep｜>NAME, a line end, and a fenced {…}
};

struct call_head {
  enum class verdict : std::uint8_t { wait, none, open, whole };
  verdict how = verdict::wait;
  head_form form{};        ///< which one it was; never object_or_tagged
  std::string name{};      ///< open, whole
  std::string arguments{}; ///< whole: all of them
  std::size_t size = 0;    ///< open: bytes before the arguments; whole: bytes of the call
};

class tool_call_head {
public:
  /// tools: a list as requests have it; it says which values are strings where a form does not. Outlives this.
  tool_call_head(head_form form, const nlohmann::ordered_json& tools) : form_(form), tools_(&tools) {}
  /// text: everything after the marker, which has only grown since the last call. ended: it grows no more.
  call_head read(std::string_view text, bool ended);

private:
  call_head object(std::string_view text, bool ended);
  call_head function(std::string_view text, std::size_t from, bool ended);

  head_form form_;
  const nlohmann::ordered_json* tools_;
  json_span span_;          ///< of an object that is read as a whole
  std::size_t scanned_ = 0; ///< bytes of the text that need no second look
};

} // namespace quadrant::actors::http
