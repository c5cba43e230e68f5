// actors/loadgen/response_reader.hpp: bytes to one HTTP/1 response, whatever the pieces. Knows Beast, and no socket.
// Threads one owner
#pragma once
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace quadrant::actors::loadgen {

class response_reader {
public:
  response_reader();
  ~response_reader();

  /// Reads on; the bytes that count as read are the caller's to drop. Nothing is read after done() or a problem.
  std::size_t feed(std::string_view bytes);
  /// The other side sends no more: the end of a body that has no other.
  void end_of_bytes();

  [[nodiscard]] bool head_done() const;
  [[nodiscard]] bool done() const;
  /// What is wrong with it, in words.
  [[nodiscard]] const std::optional<std::string>& problem() const noexcept { return problem_; }

  // once head_done()
  [[nodiscard]] int status() const;
  [[nodiscard]] std::string_view field(std::string_view name) const; ///< empty where there is none
  [[nodiscard]] bool keep_alive() const;                             ///< may the connection be used again, once done()?

  /// What has come of the body since the last call.
  std::string take_body();

private:
  struct parser; // Beast's
  std::unique_ptr<parser> parser_;
  std::optional<std::string> problem_;
};

} // namespace quadrant::actors::loadgen
