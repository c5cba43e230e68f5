#include "model/text/pretokenizer.hpp"

namespace quadrant::model {
namespace {

void append_split(const pretokenizer::split& s, regex::scan& scan, std::string_view piece,
                  std::vector<std::string_view>& to) {
  const bool keep_all = s.behaviour == pretokenizer::delimiter::isolated;
  const bool keep_matches = keep_all || s.invert, keep_gaps = keep_all || !s.invert;
  std::size_t done = 0;
  for (regex::match m; scan.next(piece, done, m); done = m.end) {
    if (keep_gaps && m.begin > done) to.push_back(piece.substr(done, m.begin - done));
    if (keep_matches) to.push_back(piece.substr(m.begin, m.end - m.begin));
  }
  if (keep_gaps && done < piece.size()) to.push_back(piece.substr(done));
}

} // namespace

void pretokenizer::prefix_all(workspace& work) const {
  for (auto& piece : work.pieces_)
    if (!piece.starts_with(' ')) piece = work.prefixed_.emplace_back(" " + std::string(piece));
}

const std::vector<std::string_view>& pretokenizer::cut(std::string_view text, workspace& work) const {
  if (work.scans_.empty())
    for (const auto& s : splits_) work.scans_.emplace_back(s.pattern);
  work.pieces_.clear(), work.prefixed_.clear();
  if (!text.empty()) work.pieces_.push_back(text);

  for (std::size_t i = 0; i < splits_.size(); ++i) {
    if (i == prefix_before_) prefix_all(work);
    work.next_.clear();
    for (const auto piece : work.pieces_) append_split(splits_[i], work.scans_[i], piece, work.next_);
    work.pieces_.swap(work.next_);
  }
  if (prefix_before_ == splits_.size()) prefix_all(work);
  return work.pieces_;
}

} // namespace quadrant::model
