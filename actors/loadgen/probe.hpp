// actors/loadgen/probe.hpp: asks a server, before a run, what it serves and how many tokens our words make there.
// Each call runs the io_context until its answer is there.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "actors/loadgen/client.hpp"
#include "actors/loadgen/prompt_writer.hpp"
#include "actors/loadgen/question_form.hpp"
#include "config/result.hpp"

namespace quadrant::actors::loadgen {

struct probe {
  boost::asio::io_context& io;
  client& to;
  std::int64_t timeout_ns;
  std::function<bool()> stop; ///< asked while it waits

  struct served_model {
    std::string name;
    std::int32_t max_positions = 0; ///< 0: the server does not say
  };
  /// The model of this name; the first that GET /v1/models lists where the name is empty.
  /// Errors  errc::unavailable no answer; errc::not_found no model, or another; errc::cancelled
  result<served_model> find_model(const std::string& name);

  enum class counted : std::uint8_t { by_tokenize, by_usage, not_at_all };
  struct token_count {
    token_rate rate;
    counted how = counted::not_at_all;
  };
  /// One word and every word are counted: by POST /tokenize, or else by the usage of a question with an answer of one
  /// token. A server that does neither gets the usual rate of English words.
  /// Errors  errc::unavailable the server refuses both; errc::cancelled
  result<token_count> measure_rate(const question_form& form, std::int32_t max_positions);

private:
  struct reply {
    int status = 0;
    std::string body;
  };
  result<reply> ask(std::string_view path, std::string body);
};

std::string_view to_string(probe::counted how) noexcept;

} // namespace quadrant::actors::loadgen
