// model/text/regex.hpp: the one home of PCRE2. Patterns as tokenizer.json writes them (Oniguruma), over UTF-8.
// Threads any, after compile; a scan has one owner
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "config/result.hpp"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace quadrant::model {

class regex {
public:
  /// Errors  errc::unavailable: a pattern that PCRE2 does not know, or does not read as Oniguruma would
  static result<regex> compile(std::string_view pattern);
  /// Matches `text` itself, which is not empty.
  static result<regex> literal(std::string_view text);

  struct match {
    std::size_t begin = 0, end = 0;
  };

  /// Finds matches one after the other. The regex outlives it.
  class scan {
  public:
    explicit scan(const regex& r);
    /// The first match at or after `from` that is not empty. `text` is valid UTF-8.
    bool next(std::string_view text, std::size_t from, match& found);

  private:
    struct free_match_data {
      void operator()(pcre2_real_match_data_8* data) const noexcept;
    };
    const pcre2_real_code_8* code_;
    std::unique_ptr<pcre2_real_match_data_8, free_match_data> data_;
  };

private:
  static result<regex> compile_as(std::string_view pattern, std::uint32_t options);

  struct free_code {
    void operator()(pcre2_real_code_8* code) const noexcept;
  };
  std::unique_ptr<pcre2_real_code_8, free_code> code_;
};

} // namespace quadrant::model
