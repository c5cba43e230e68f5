#include "model/text/pretokenizer.hpp"

namespace quadrant::model {
namespace {

using pieces = std::vector<std::string_view>;

void append_split(const pretokenizer::split& s, regex::scan& scan, std::string_view piece, pieces& to) {
  const bool keep_all = s.behaviour == pretokenizer::delimiter::isolated;
  const bool keep_matches = keep_all || s.invert, keep_gaps = keep_all || !s.invert;
  std::size_t done = 0;
  for (regex::match m; scan.next(piece, done, m); done = m.end) {
    if (keep_gaps && m.begin > done) to.push_back(piece.substr(done, m.begin - done));
    if (keep_matches) to.push_back(piece.substr(m.begin, m.end - m.begin));
  }
  if (keep_gaps && done < piece.size()) to.push_back(piece.substr(done));
}

/// `piece` with marks for spaces, one more in front where it is to have one there.
std::string with_marks(const std::string& mark, std::string_view piece, bool in_front) {
  std::string out;
  out.reserve(piece.size() + piece.size() / 2);
  if (in_front && !piece.starts_with(' ') && !piece.starts_with(mark)) out += mark;
  for (std::size_t done = 0;;) {
    const auto space = piece.find(' ', done);
    out += piece.substr(done, space - done);
    if (space == std::string_view::npos) return out;
    out += mark;
    done = space + 1;
  }
}

void append_cut_before(const std::string& mark, std::string_view piece, pieces& to) {
  for (std::size_t begin = 0; begin < piece.size();) {
    const auto end = std::min(piece.find(mark, begin + 1), piece.size());
    to.push_back(piece.substr(begin, end - begin));
    begin = end;
  }
}

} // namespace

void pretokenizer::append_marked(const metaspace& m, std::string_view piece, bool is_first, workspace& work) {
  const bool in_front = m.marked == metaspace::front::always || (m.marked == metaspace::front::first && is_first);
  const std::string_view marked = work.made_.emplace_back(with_marks(m.mark, piece, in_front));
  if (m.cuts)
    append_cut_before(m.mark, marked, work.next_);
  else
    work.next_.push_back(marked);
}

const pieces& pretokenizer::cut(std::string_view text, bool begins, workspace& work) const {
  if (work.scans_.size() != stages_.size()) {
    work.scans_.clear();
    for (const auto& s : stages_) {
      const auto* is_split = std::get_if<split>(&s);
      work.scans_.push_back(is_split ? std::optional<regex::scan>(is_split->pattern) : std::nullopt);
    }
  }
  work.pieces_.clear(), work.made_.clear();
  if (!text.empty()) work.pieces_.push_back(text);

  for (std::size_t i = 0; i < stages_.size(); ++i) {
    work.next_.clear();
    const auto& s = stages_[i];
    for (const auto piece : work.pieces_) {
      if (const auto* splits = std::get_if<split>(&s))
        append_split(*splits, *work.scans_[i], piece, work.next_);
      else if (const auto* marks = std::get_if<metaspace>(&s))
        append_marked(*marks, piece, begins && piece.data() == text.data(), work);
      else
        work.next_.push_back(piece.starts_with(' ') ? piece : work.made_.emplace_back(" " + std::string(piece)));
    }
    work.pieces_.swap(work.next_);
  }
  return work.pieces_;
}

} // namespace quadrant::model
