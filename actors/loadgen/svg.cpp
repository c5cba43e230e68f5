#include "actors/loadgen/svg.hpp"

#include <cstdio>

namespace quadrant::actors::loadgen {
namespace {

/// `text` in UTF-8 as XML may hold it: what it may not is shown as U+FFFD.
std::string escaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t size = lead < 0x80                   ? 1
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                                                           : 0;
    std::uint32_t code = size == 0 ? 0 : size == 1 ? lead : lead & (0x7fu >> size);
    bool good = size > 0 && i + size <= text.size();
    for (std::size_t k = 1; good && k < size; ++k) {
      good = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
      code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3f);
    }
    const std::uint32_t least[] = {0, 0x20, 0x80, 0x800, 0x10000};
    good = good && code >= least[size] && (code < 0xd800 || code > 0xdfff) && code != 0xfffe && code != 0xffff &&
           code < 0x110000;
    if (!good)
      out += "\xef\xbf\xbd";
    else if (code == '<')
      out += "&lt;";
    else if (code == '&')
      out += "&amp;";
    else if (code == '>')
      out += "&gt;";
    else
      out += text.substr(i, size);
    i += good ? size : 1;
  }
  return out;
}

} // namespace

svg::svg(double width, double height) {
  out_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"";
  number(width);
  out_ += "\" height=\"";
  number(height);
  out_ += "\" viewBox=\"0 0 ";
  number(width);
  out_ += ' ';
  number(height);
  out_ += "\" font-family=\"-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\">\n"
          "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
}

void svg::number(double value) {
  char text[32];
  const int size = std::snprintf(text, sizeof text, "%.1f", value);
  std::string_view shown(text, std::size_t(size));
  if (shown.ends_with(".0")) shown.remove_suffix(2);
  out_ += shown;
}

void svg::points(const std::vector<point>& list) {
  for (const auto& [x, y] : list) {
    number(x);
    out_ += ',';
    number(y);
    out_ += ' ';
  }
  if (!list.empty()) out_.pop_back();
}

void svg::line(point from, point to, const line_style& style) { polyline({from, to}, style); }

void svg::polyline(const std::vector<point>& through, const line_style& style) {
  out_ += "<polyline points=\"";
  points(through);
  out_ += "\" fill=\"none\" stroke=\"";
  out_ += style.stroke;
  out_ += "\" stroke-width=\"";
  number(style.width);
  out_ += style.dashed ? "\" stroke-dasharray=\"4 3\"/>\n" : "\"/>\n";
}

void svg::polygon(const std::vector<point>& around, std::string_view fill, double opacity) {
  out_ += "<polygon points=\"";
  points(around);
  out_ += "\" fill=\"";
  out_ += fill;
  out_ += "\" fill-opacity=\"";
  number(opacity);
  out_ += "\"/>\n";
}

void svg::circle(point at, double radius, std::string_view fill) {
  out_ += "<circle cx=\"";
  number(at.first);
  out_ += "\" cy=\"";
  number(at.second);
  out_ += "\" r=\"";
  number(radius);
  out_ += "\" fill=\"";
  out_ += fill;
  out_ += "\"/>\n";
}

void svg::text(point at, std::string_view words, const text_style& style) {
  out_ += "<text x=\"";
  number(at.first);
  out_ += "\" y=\"";
  number(at.second);
  out_ += "\" font-size=\"";
  number(style.size);
  out_ += "\" fill=\"";
  out_ += style.fill;
  if (style.anchor != "start") (out_ += "\" text-anchor=\"") += style.anchor;
  if (style.bold) out_ += "\" font-weight=\"600";
  out_ += "\">";
  out_ += escaped(words);
  out_ += "</text>\n";
}

std::string svg::finish() { return std::move(out_) + "</svg>\n"; }

} // namespace quadrant::actors::loadgen
