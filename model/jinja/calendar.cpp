#include "model/jinja/calendar.hpp"

#include <array>

namespace quadrant::model::jinja {
namespace {

constexpr std::array<std::string_view, 12> months = {"January",   "February", "March",    "April",
                                                     "May",       "June",     "July",     "August",
                                                     "September", "October",  "November", "December"};
constexpr std::array<std::string_view, 7> weekdays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                      "Thursday", "Friday", "Saturday"};

std::string number(std::int64_t n, std::size_t width, char pad) {
  auto text = std::to_string(n);
  if (pad != '\0' && text.size() < width) text.insert(0, width - text.size(), pad);
  return text;
}

} // namespace

std::string format_time(std::string_view format, std::chrono::system_clock::time_point when) {
  using namespace std::chrono;
  const auto day_start = floor<days>(when);
  const year_month_day date(day_start);
  const hh_mm_ss time(floor<microseconds>(when - day_start));
  const auto month_index = unsigned(date.month()) - 1, weekday_index = weekday(day_start).c_encoding();
  const auto hour = time.hours().count(), hour12 = hour % 12 == 0 ? 12 : hour % 12;
  const auto year_day = (day_start - sys_days(date.year() / January / 1)).count() + 1;

  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out += format[i];
      continue;
    }
    const auto begin = i++;
    const bool bare = format[i] == '-' && i + 1 < format.size();
    if (bare) ++i;
    const char zero = bare ? '\0' : '0';
    switch (format[i]) {
    case 'Y': out += number(int(date.year()), 4, zero); break;
    case 'y': out += number(int(date.year()) % 100, 2, zero); break;
    case 'm': out += number(unsigned(date.month()), 2, zero); break;
    case 'd': out += number(unsigned(date.day()), 2, zero); break;
    case 'e': out += number(unsigned(date.day()), 2, bare ? '\0' : ' '); break;
    case 'H': out += number(hour, 2, zero); break;
    case 'I': out += number(hour12, 2, zero); break;
    case 'M': out += number(time.minutes().count(), 2, zero); break;
    case 'S': out += number(time.seconds().count(), 2, zero); break;
    case 'f': out += number(time.subseconds().count(), 6, '0'); break;
    case 'j': out += number(year_day, 3, zero); break;
    case 'p': out += hour < 12 ? "AM" : "PM"; break;
    case 'A': out += weekdays[weekday_index]; break;
    case 'a': out += weekdays[weekday_index].substr(0, 3); break;
    case 'B': out += months[month_index]; break;
    case 'b': out += months[month_index].substr(0, 3); break;
    case 'F': out += format_time("%Y-%m-%d", when); break;
    case 'T': out += format_time("%H:%M:%S", when); break;
    case 'Z': out += "UTC"; break;
    case 'z': out += "+0000"; break;
    case '%': out += '%'; break;
    default: out += format.substr(begin, i - begin + 1);
    }
  }
  return out;
}

} // namespace quadrant::model::jinja
