#include "actors/loadgen/event_reader.hpp"

namespace quadrant::actors::loadgen {

bool event_reader::feed(std::string_view bytes, const sink& event) {
  while (!bytes.empty() && !too_long_) {
    if (after_cr_ && bytes.front() == '\n') bytes.remove_prefix(1);
    after_cr_ = false;
    const auto end = bytes.find_first_of("\r\n");
    line_ += bytes.substr(0, end);
    too_long_ = line_.size() + data_.size() > max_event_bytes;
    if (end == bytes.npos) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    if (!too_long_) end_line(event);
  }
  return !too_long_;
}

void event_reader::end(const sink& event) {
  if (too_long_) return;
  if (!line_.empty()) end_line(event);
  end_event(event);
}

void event_reader::end_line(const sink& event) {
  std::string_view line = line_;
  if (first_line_ && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  first_line_ = false;
  if (line.empty()) {
    end_event(event);
  } else if (const auto colon = line.find(':'); line.substr(0, colon) == "data") {
    auto value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_ += value;
    has_data_ = true;
  }
  line_.clear();
}

void event_reader::end_event(const sink& event) {
  if (has_data_) event(data_);
  data_.clear();
  has_data_ = false;
}

} // namespace quadrant::actors::loadgen
