#include "model/text/tokenizer_stages.hpp"

#include <algorithm>

namespace quadrant::model {
namespace {

/// The regex or the literal that a Split or a Replace looks for.
result<regex> pattern_of(const file_part& part) {
  const auto pattern = part.at("pattern");
  const auto literal = pattern.word("String"), expression = pattern.word("Regex");
  if (literal.empty() && expression.empty()) return part.broken("a " + std::string(part.type()) + " has no pattern");
  auto compiled = literal.empty() ? regex::compile(expression) : regex::literal(literal);
  if (!compiled) return part.in_file(compiled.error());
  return compiled;
}

result<pretokenizer::stage> isolated(const file_part& part, std::string_view pattern) {
  auto compiled = regex::compile(pattern);
  if (!compiled) return part.in_file(compiled.error());
  return pretokenizer::stage(
      pretokenizer::split{std::move(compiled).value(), pretokenizer::delimiter::isolated, false});
}

result<pretokenizer::stage> read_split(const file_part& part) {
  QUADRANT_TRY(auto pattern, pattern_of(part));
  const auto behaviour = part.word("behavior");
  if (behaviour != "Isolated" && behaviour != "Removed")
    return part.unknown("Split behavior " + shown_text(behaviour), "Isolated, Removed");
  return pretokenizer::stage(pretokenizer::split{std::move(pattern),
                                                 behaviour == "Isolated" ? pretokenizer::delimiter::isolated
                                                                         : pretokenizer::delimiter::removed,
                                                 part.flag("invert")});
}

/// What a step writes into text: longer than this it could only be meant to fill the memory.
result<std::string> content_of(const file_part& part, std::string_view key) {
  constexpr std::size_t longest = 256;
  const auto content = part.word(key);
  if (content.size() > longest) return part.broken("the " + std::string(key) + " of a step is longer than 256 bytes");
  return std::string(content);
}

/// The character that stands for a space.
result<std::string> mark_of(const file_part& part) {
  QUADRANT_TRY(auto mark, content_of(part, "replacement"));
  if (mark.empty()) return part.broken("Metaspace has no replacement");
  return mark;
}

/// Older files have add_prefix_space for it.
result<pretokenizer::metaspace::front> front_of(const file_part& part) {
  using enum pretokenizer::metaspace::front;
  const auto scheme = part.word("prepend_scheme");
  if (scheme.empty()) return part.flag("add_prefix_space", true) ? always : never;
  if (scheme == "always") return always;
  if (scheme == "first") return first;
  if (scheme == "never") return never;
  return part.unknown("prepend_scheme " + shown_text(scheme), "always, first, never");
}

result<pretokenizer::stage> read_metaspace(const file_part& part) {
  QUADRANT_TRY(auto mark, mark_of(part));
  QUADRANT_TRY(const auto front, front_of(part));
  return pretokenizer::stage(pretokenizer::metaspace{std::move(mark), front, part.flag("split", true)});
}

/// One step of a decoder that does not work on bytes.
result<void> add_decoder(const file_part& part, bool fused, decoding& to) {
  const auto type = part.type();
  const std::string of_whole = fused ? " after Fuse" : "";
  if (type == "Metaspace" && !fused) {
    QUADRANT_TRY(auto mark, mark_of(part));
    QUADRANT_TRY(const auto front, front_of(part));
    to.replacements.emplace_back(std::move(mark), " ");
    to.lead = " ", to.most_lead = front == pretokenizer::metaspace::front::never ? 0 : 1;
  } else if (type == "Replace" && !fused && !to.byte_tokens) {
    const auto from = part.at("pattern").word("String");
    if (from.empty()) return part.unknown("decoder Replace without a String", "Replace of a String");
    QUADRANT_TRY(auto content, content_of(part, "content"));
    to.replacements.emplace_back(from, std::move(content));
  } else if (type == "ByteFallback" && !fused) {
    to.byte_tokens = true;
  } else if (type == "Strip" && fused) {
    const auto &start = part.at("start").json(), &stop = part.at("stop").json();
    to.lead = part.word("content");
    if (!start.is_number_unsigned() || to.lead.empty()) return part.broken("Strip has no start or no content");
    if (stop != 0) return part.unknown("decoder Strip at the end of a text", "Strip at its start");
    to.most_lead = start.get<std::size_t>();
  } else if (type != "Fuse") {
    return part.unknown("decoder " + shown_text(type) + of_whole,
                        "ByteLevel; Metaspace; Replace, ByteFallback, Fuse, Strip in this order");
  }
  return {};
}

} // namespace

result<normaliser> read_normaliser(const file_part& part) {
  normaliser all;
  QUADRANT_TRY(const auto steps, part.steps("normalizers"));
  for (const auto& step : steps) {
    const auto type = step.type();
    if (type == "NFC") {
      all.add(normaliser::form_c{});
    } else if (type == "Prepend") {
      QUADRANT_TRY(auto text, content_of(step, "prepend"));
      all.add(normaliser::prefix{std::move(text)});
    } else if (type == "Replace") {
      QUADRANT_TRY(auto pattern, pattern_of(step));
      QUADRANT_TRY(auto text, content_of(step, "content"));
      all.add(normaliser::replacement{std::move(pattern), std::move(text)});
    } else {
      return step.unknown("normalizer " + shown_text(type), "NFC, Prepend, Replace, Sequence");
    }
  }
  return all;
}

result<cutting> read_pretokenizer(const file_part& part) {
  cutting all;
  QUADRANT_TRY(const auto steps, part.steps("pretokenizers"));
  for (const auto& step : steps) {
    const auto type = step.type();
    // After it a piece is letters of the byte alphabet, not text.
    if (all.byte_level) return step.unknown("a pre_tokenizer after ByteLevel", "ByteLevel last");
    if (type == "Split") {
      QUADRANT_TRY(auto stage, read_split(step));
      all.cutter.add(std::move(stage));
    } else if (type == "Digits") {
      QUADRANT_TRY(auto stage, isolated(step, step.flag("individual_digits") ? R"(\p{N})" : R"(\p{N}+)"));
      all.cutter.add(std::move(stage));
    } else if (type == "Metaspace") {
      QUADRANT_TRY(auto stage, read_metaspace(step));
      all.cutter.add(std::move(stage));
    } else if (type == "ByteLevel") {
      all.byte_level = true;
      if (step.flag("add_prefix_space", true)) all.cutter.add(pretokenizer::space_in_front{});
      if (!step.flag("use_regex", true)) continue;
      QUADRANT_TRY(auto stage, isolated(step, R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+)"
                                              R"(|\s+(?!\S)|\s+)"));
      all.cutter.add(std::move(stage));
    } else {
      return step.unknown("pre_tokenizer " + shown_text(type), "Sequence, Split, Digits, Metaspace, ByteLevel");
    }
  }
  return all;
}

result<decoding> read_decoder(const file_part& part, bool byte_level) {
  decoding all;
  QUADRANT_TRY(const auto steps, part.steps("decoders"));
  if (steps.empty() && !byte_level) return part.unknown("no decoder, without ByteLevel", "Metaspace, Sequence");
  bool fused = false;
  for (const auto& step : steps) {
    if ((step.type() == "ByteLevel") != byte_level)
      return step.unknown("decoder " + shown_text(step.type()) + (byte_level ? " after" : " without") +
                              " a ByteLevel pre_tokenizer",
                          "ByteLevel for both, or for neither");
    if (!byte_level) QUADRANT_TRY_VOID(add_decoder(step, fused, all));
    fused |= step.type() == "Fuse";
  }
  return all;
}

result<prompt_frame> read_post_processor(const file_part& part) {
  prompt_frame frame;
  QUADRANT_TRY(const auto steps, part.steps("processors"));
  for (const auto& step : steps) {
    if (step.type() == "ByteLevel") continue;
    if (step.type() != "TemplateProcessing")
      return step.unknown("post_processor " + shown_text(step.type()), "ByteLevel, TemplateProcessing, Sequence");
    bool after_text = false;
    for (const auto& piece : step.at("single").json()) {
      const file_part one(piece, {});
      if (one.at("Sequence").json().is_object()) {
        after_text = true;
        continue;
      }
      const auto& ids = step.at("special_tokens").at(one.at("SpecialToken").word("id")).at("ids").json();
      if (!ids.is_array() || !std::ranges::all_of(ids, is_token_id))
        return step.broken("post_processor names a token without ids");
      for (const auto& id : ids) (after_text ? frame.suffix : frame.prefix).push_back(id.get<std::int32_t>());
    }
    if (!after_text) return step.broken("post_processor leaves out the text");
  }
  return frame;
}

} // namespace quadrant::model
