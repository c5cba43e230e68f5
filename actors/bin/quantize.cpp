// quadrant quantize: a checkpoint with its FFN matrices in int4, the error that it makes of each layer, and of answers.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "actors/bin/all_logits.hpp"
#include "actors/bin/commands.hpp"
#include "actors/bin/session.hpp"
#include "actors/chat_text.hpp"
#include "config/file.hpp"
#include "config/progress.hpp"
#include "model/quantise.hpp"

namespace quadrant::bin {
namespace {

struct quantize_flags {
  std::string from, to, text;
  std::int32_t tokens = 512;
  bool json = false;
};

/// Mean over positions of KL(p of a || p of b), in nats.
double divergence(const std::vector<float>& a, const std::vector<float>& b, std::size_t vocabulary) {
  double sum = 0;
  std::vector<double> p(vocabulary), q(vocabulary);
  const auto log_softmax = [&](const float* logits, std::vector<double>& to) {
    const double top = *std::max_element(logits, logits + vocabulary);
    double total = 0;
    for (std::size_t i = 0; i < vocabulary; ++i) total += std::exp(double(logits[i]) - top);
    for (std::size_t i = 0; i < vocabulary; ++i) to[i] = double(logits[i]) - top - std::log(total);
  };
  for (std::size_t at = 0; at < a.size(); at += vocabulary) {
    log_softmax(a.data() + at, p);
    log_softmax(b.data() + at, q);
    for (std::size_t i = 0; i < vocabulary; ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  }
  return sum / double(a.size() / vocabulary);
}

result<std::vector<float>> logits_of(const std::string& model, const char* precision,
                                     const std::vector<std::int32_t>& tokens) {
  engine_flags flags{.model = model, .topology = {}, .precision = precision};
  QUADRANT_TRY(auto options, flags.options());
  QUADRANT_TRY(const auto engine, actors::engine::start(std::move(options)));
  const bounded_exit bounded;
  return all_logits(*engine, tokens);
}

/// What the checkpoint says of a text in bf16, against what its quantised form says of it in W4A8.
result<void> compare(const quantize_flags& flags) {
  const auto text = read_file(flags.text);
  if (!text) return {errc::not_found, "cannot read " + flags.text};
  QUADRANT_TRY(const auto config, model::read_model_config(flags.from));
  QUADRANT_TRY(const auto words, actors::chat_text::open(flags.from, config));
  auto tokens = words.tokens().encode(*text, model::special_tokens::as_text);
  tokens.resize(std::min({tokens.size(), std::size_t(flags.tokens), std::size_t(config.max_position_embeddings)}));
  if (tokens.empty()) return {errc::invalid_argument, flags.text + " has no text"};
  QUADRANT_TRY(const auto exact, logits_of(flags.from, "bf16", tokens));
  QUADRANT_TRY(const auto at_load, logits_of(flags.from, "w4a8", tokens));
  QUADRANT_TRY(const auto searched, logits_of(flags.to, "w4a8", tokens));
  const auto vocabulary = std::size_t(config.vocab_size);
  const double kl = divergence(exact, searched, vocabulary), kl_at_load = divergence(exact, at_load, vocabulary);
  progress::clear();
  if (flags.json)
    std::printf("{\"tokens\":%zu,\"kl\":%.6g,\"kl_quantised_at_load\":%.6g}\n", tokens.size(), kl, kl_at_load);
  else
    std::printf("KL to bf16 over %zu tokens: %.5f nats a token (quantised at load: %.5f)\n", tokens.size(), kl,
                kl_at_load);
  return {};
}

result<void> run(const quantize_flags& flags) {
  if (!flags.text.empty() && !read_file(flags.text))
    return {errc::not_found, "cannot read " + flags.text + "; --text wants a file of text"};
  model::quantise_order order{.from = flags.from, .to = flags.to, .done = {}};
  order.done = [&](const model::layer_error& e) {
    progress::clear();
    std::printf(flags.json ? "{\"layer\":%d,\"weights\":%lld,\"error\":%.6g,\"error_unclipped\":%.6g}\n"
                           : "layer %3d  %12lld weights in int4  error %.4f of their size (unclipped %.4f)\n",
                e.layer, (long long)e.weights, e.relative, e.unclipped);
    std::fflush(stdout);
  };
  QUADRANT_TRY_VOID(model::quantise_checkpoint(order));
  progress::clear();
  return flags.text.empty() ? result<void>() : compare(flags);
}

} // namespace

command add_quantize(CLI::App& program) {
  auto* app =
      program.add_subcommand("quantize", "Writes a checkpoint with its experts in int4, once, instead of at each load");
  const auto flags = std::make_shared<quantize_flags>();
  app->add_option("from", flags->from, "checkpoint directory")->required();
  app->add_option("to", flags->to, "directory to write; whole files of an earlier run are kept")->required();
  app->add_option("--text", flags->text, "a text: prints how far answers move from bf16 (KL)");
  app->add_option("--tokens", flags->tokens, "of the text")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  app->add_flag("--json", flags->json, "one JSON object a line");
  return {app, [flags] {
            watch_signals();
            const auto done = run(*flags);
            return done ? 0 : fail(done.error());
          }};
}

} // namespace quadrant::bin
