// model/chat_template.hpp: a checkpoint's chat template (Jinja), rendered to a prompt that knows who wrote what.
//
// The template's own words are trusted; every string that came in with the request is not, through concatenation,
// slices, filters and macros. A string whose origin is in doubt is untrusted.
// Limits  output and any one value 16 MB, 1e6 loop turns and macro calls together (looking at 32 members or 1024
//         characters counts as one), 100 nested calls:
//         errc::invalid_argument
// Errors  parse: errc::corrupt, line and cause; errc::unavailable, a piece of Jinja that is not known here.
//         render: errc::invalid_argument, line and cause; what raise_exception says comes through as it is.
// Threads any, after parse
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/result.hpp"
#include "model/text/trust_map.hpp"
#include "model/text_span.hpp"

namespace quadrant::model {

namespace jinja {
struct block;
}

/// A prompt and, byte by byte, whether the template wrote it.
struct rendered_chat {
  std::string text;
  trust_map trust;

  /// What tokenizer::encode_spans takes; valid as long as this is neither moved nor changed.
  [[nodiscard]] std::vector<text_span> spans() const;
};

class chat_template {
public:
  struct options {
    bool add_generation_prompt = true;
    nlohmann::ordered_json tools = nullptr;      ///< a list, or null
    nlohmann::ordered_json extra = nullptr;      ///< an object of further variables from the client, or null
    std::string bos_token{}, eos_token{};        ///< of tokenizer_config.json; trusted
    std::chrono::system_clock::time_point now{}; ///< what strftime_now formats, in UTC
  };

  static result<chat_template> parse(std::string source);

  [[nodiscard]] result<rendered_chat> render(const nlohmann::ordered_json& messages, const options& with) const;

private:
  explicit chat_template(std::shared_ptr<const jinja::block> program) : program_(std::move(program)) {}
  std::shared_ptr<const jinja::block> program_;
};

} // namespace quadrant::model
