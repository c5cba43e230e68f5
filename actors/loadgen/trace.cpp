#include "actors/loadgen/trace.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <optional>
#include <string_view>
#include <variant>

#include <nlohmann/json.hpp>

namespace quadrant::actors::loadgen {
namespace {

using json = nlohmann::json;

constexpr std::size_t max_line_bytes = 4 << 20; // 40 bytes for each block of a prompt of 50 million tokens
constexpr std::int64_t max_tokens = 100'000'000;
constexpr std::int64_t max_seconds = 100LL * 366 * 24 * 3600; // since the start of the trace, or 1970
constexpr std::string_view azure_head = "TIMESTAMP,ContextTokens,GeneratedTokens";

/// A row, or what is wrong with its line.
using parsed = std::variant<trace_row, std::string>;

// ---- Mooncake ----------------------------------------------------------------------------------------------------

std::optional<std::int64_t> whole(const json& object, const char* key, std::int64_t low, std::int64_t high) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  if (found->is_number_unsigned() && found->get<std::uint64_t>() > std::uint64_t(high)) return std::nullopt;
  const auto value = found->get<std::int64_t>();
  return value < low || value > high ? std::nullopt : std::optional(value);
}

parsed parse_mooncake(std::string_view line) {
  const auto object = json::parse(line, nullptr, false);
  if (!object.is_object()) return "is no JSON object";
  trace_row row;
  const auto time = object.find("timestamp");
  if (time == object.end() || !time->is_number() ||
      !(time->get<double>() >= 0 && time->get<double>() <= double(max_seconds) * 1e3))
    return "timestamp must be a number of milliseconds, 0 or more";
  row.at_ns = std::llround(time->get<double>() * 1e6);
  for (const auto& [key, to] : {std::pair("input_length", &row.input_tokens), {"output_length", &row.output_tokens}}) {
    const auto tokens = whole(object, key, 0, max_tokens);
    if (!tokens) return key + (" must be a whole number from 0 to " + std::to_string(max_tokens));
    *to = std::max<std::int32_t>(1, std::int32_t(*tokens));
  }
  const auto ids = object.find("hash_ids");
  if (ids == object.end()) return row;
  if (!ids->is_array()) return "hash_ids must be a list of whole numbers";
  for (const auto& id : *ids) {
    if (!id.is_number_integer()) return "hash_ids must be a list of whole numbers";
    row.blocks.push_back(id.is_number_unsigned() ? id.get<std::uint64_t>() : std::uint64_t(id.get<std::int64_t>()));
  }
  return row;
}

// ---- Azure -------------------------------------------------------------------------------------------------------

/// Takes a number of exactly `digits` digits, or of one or more where `digits` is 0, off the front.
std::optional<std::int64_t> take_number(std::string_view& text, std::size_t digits) {
  std::int64_t value = 0;
  const auto most = digits == 0 ? text.size() : std::min(digits, text.size());
  const auto [end, problem] = std::from_chars(text.data(), text.data() + most, value);
  const auto size = std::size_t(end - text.data());
  if (problem != std::errc{} || text.front() == '-' || (digits != 0 && size != digits)) return std::nullopt;
  text.remove_prefix(size);
  return value;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

/// "2023-11-16 18:17:03.9799600" in ns since 1970.
std::optional<std::int64_t> parse_time(std::string_view text) {
  using namespace std::chrono;
  std::int64_t fields[6];
  constexpr char behind[] = {'-', '-', ' ', ':', ':', '\0'};
  for (int i = 0; i < 6; ++i) {
    const auto value = take_number(text, i == 0 ? 4 : 2);
    if (!value) return std::nullopt;
    fields[i] = *value;
    if (i < 5 && !take(text, behind[i]) && !(i == 2 && take(text, 'T'))) return std::nullopt;
  }
  const year_month_day date{year{int(fields[0])}, month{unsigned(fields[1])}, day{unsigned(fields[2])}};
  if (!date.ok() || fields[0] < 1970 || fields[0] > 2069 || fields[3] > 23 || fields[4] > 59 || fields[5] > 60)
    return std::nullopt;
  auto ns = duration_cast<nanoseconds>(sys_days(date).time_since_epoch() + hours(fields[3]) + minutes(fields[4]) +
                                       seconds(fields[5]))
                .count();
  if (take(text, '.'))
    for (std::int64_t unit = 100'000'000; !text.empty() && text.front() >= '0' && text.front() <= '9'; unit /= 10) {
      ns += unit * (text.front() - '0');
      text.remove_prefix(1);
    }
  const bool zone = text.empty() || text == "Z" || text.front() == '+' || text.front() == '-';
  return zone ? std::optional(ns) : std::nullopt;
}

parsed parse_azure(std::string_view line) {
  const auto first = line.find(','), second = line.find(',', first + 1);
  if (first == line.npos || second == line.npos) return "must have three values, as " + std::string(azure_head);
  trace_row row;
  const auto time = parse_time(line.substr(0, first));
  if (!time) return "TIMESTAMP must be like 2023-11-16 18:17:03.9799600";
  row.at_ns = *time;
  auto input = line.substr(first + 1, second - first - 1), output = line.substr(second + 1);
  for (const auto& [name, text, to] :
       {std::tuple("ContextTokens", &input, &row.input_tokens), {"GeneratedTokens", &output, &row.output_tokens}}) {
    const auto tokens = text->empty() ? std::nullopt : take_number(*text, 0);
    if (!tokens || !text->empty() || *tokens > max_tokens)
      return std::string(name) + " must be a whole number from 0 to " + std::to_string(max_tokens);
    *to = std::max<std::int32_t>(1, std::int32_t(*tokens));
  }
  return row;
}

// ---- lines -------------------------------------------------------------------------------------------------------

enum class line_end : std::uint8_t { found, end_of_file, too_long };

/// The next line, without its end.
line_end next_line(std::istream& in, std::string& line) {
  line.clear();
  auto* bytes = in.rdbuf();
  for (auto c = bytes->sbumpc();; c = bytes->sbumpc()) {
    if (c == std::istream::traits_type::eof()) return line.empty() ? line_end::end_of_file : line_end::found;
    if (c == '\n') break;
    if (line.size() == max_line_bytes) return line_end::too_long;
    line += char(c);
  }
  if (line.ends_with('\r')) line.pop_back();
  return line_end::found;
}

} // namespace

result<std::vector<trace_row>> read_trace(std::istream& in, const std::string& name, std::size_t limit) {
  std::vector<trace_row> rows;
  parsed (*parse)(std::string_view) = nullptr;
  std::string line;
  for (std::size_t number = 1; rows.size() < limit; ++number) {
    const auto wrong = [&](const std::string& what) {
      return failure{errc::invalid_argument, name + ":" + std::to_string(number) + ": " + what};
    };
    const auto end = next_line(in, line);
    if (end == line_end::end_of_file) break;
    if (end == line_end::too_long)
      return wrong("is longer than " + std::to_string(max_line_bytes) + " bytes; is this a trace?");
    if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
    if (line.empty()) continue;
    if (parse == nullptr) {
      parse = line.front() == '{' ? parse_mooncake : line.starts_with(azure_head) ? parse_azure : nullptr;
      if (parse == nullptr)
        return wrong("is neither a Mooncake trace (JSON lines with timestamp, input_length, output_length, hash_ids) "
                     "nor an Azure one (" +
                     std::string(azure_head) + ")");
      if (parse == parse_azure) continue;
    }
    auto row = parse(line);
    if (const auto* what = std::get_if<std::string>(&row)) return wrong(*what);
    rows.push_back(std::get<trace_row>(std::move(row)));
  }
  if (rows.empty()) return {errc::invalid_argument, name + " holds no requests"};
  std::ranges::stable_sort(rows, {}, &trace_row::at_ns);
  const auto start = rows.front().at_ns;
  for (auto& row : rows) row.at_ns -= start;
  return rows;
}

result<std::vector<trace_row>> read_trace(const std::filesystem::path& file, std::size_t limit) {
  std::error_code ignored;
  std::ifstream in(file, std::ios::binary);
  if (!in || std::filesystem::is_directory(file, ignored))
    return {errc::not_found, "the trace " + file.string() + " cannot be read"};
  return read_trace(in, file.string(), limit);
}

} // namespace quadrant::actors::loadgen
