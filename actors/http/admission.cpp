#include "actors/http/admission.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "actors/http/completion_request.hpp"
#include "config/hash.hpp"
#include "config/random.hpp"

namespace quadrant::actors::http {
namespace {

constexpr std::int32_t default_completion_tokens = 16;

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// Does the prompt fit, and what is wanted after it?
std::optional<api_error> fits(const served_model& model, const generation_fields& how, std::size_t size,
                              const char* field) {
  const auto positions = std::size_t(model.config.max_position_embeddings);
  if (size == 0) return bad_request(field, std::string(field) + " must make a prompt of one or more tokens");
  if (size >= positions)
    return bad_request(field,
                       std::string(field) + " must make fewer tokens than " + std::to_string(size) +
                           ": the model reads and writes at most " + std::to_string(positions),
                       "context_length_exceeded");
  if (std::size_t(std::max(how.max_new_tokens, how.min_new_tokens)) > positions - size)
    return bad_request("max_tokens",
                       "max_tokens must be at most " + std::to_string(positions - size) + " after a prompt of " +
                           std::to_string(size) + " tokens",
                       "context_length_exceeded");
  return std::nullopt;
}

/// What only the model can tell.
std::optional<api_error> suits(const served_model& model, const generation_fields& how) {
  if (auto error = other_model(model, how.model)) return error;
  const auto vocabulary = model.config.vocab_size;
  const auto outside = [&](std::int32_t id) { return id < 0 || id >= vocabulary; };
  const auto ids = " ids from 0 to " + std::to_string(vocabulary - 1);
  if (std::ranges::any_of(how.bias, outside, &gpu::logit_bias::id))
    return bad_request("logit_bias", "logit_bias must name" + ids);
  if (std::ranges::any_of(how.stop_tokens, outside))
    return bad_request("stop_token_ids", "stop_token_ids must be" + ids);
  if (how.max_new_tokens > 0 && how.min_new_tokens > how.max_new_tokens)
    return bad_request("min_tokens", "min_tokens must be at most max_tokens");
  return std::nullopt;
}

/// One prompt's work, without its tokens.
generation work_of(const served_model& model, const generation_fields& how) {
  generation what{.max_new_tokens = how.max_new_tokens,
                  .min_new_tokens = how.min_new_tokens,
                  .stop_tokens = how.stop_tokens,
                  .sampling = how.sampling,
                  .bias = how.bias,
                  .form = how.form,
                  .samples = how.n,
                  .top_logprobs = how.top_logprobs};
  if (!how.has_seed) what.sampling.seed = random_u64();
  if (!how.ignore_eos)
    for (const auto id : model.text.stop_tokens())
      if (std::ranges::find(what.stop_tokens, id) == what.stop_tokens.end()) what.stop_tokens.push_back(id);
  return what;
}

answer::settings form_of(const served_model& model, generation_fields how, const generation& work, const char* kind) {
  return {.about = {kind + to_hex(random_u64()), model.name, unix_seconds()},
          .samples = how.n,
          .stream = how.stream,
          .include_usage = how.include_usage,
          .continuous_usage = how.continuous_usage,
          .each = {.stop = std::move(how.stop),
                   .stop_tokens = work.stop_tokens,
                   .min_tokens = how.min_new_tokens,
                   .include_stop = how.include_stop,
                   .logprobs = how.top_logprobs >= 0}};
}

/// A completion's prompt is all the client's: there is nobody's text beside it that its control tokens could feign, and it
/// may give ids as well.
std::vector<std::int32_t> ids_of(const served_model& model, const text_or_ids& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt))
    return model.text.tokens().encode(*text, model::special_tokens::parse);
  return std::get<std::vector<std::int32_t>>(prompt);
}
std::string text_of(const served_model& model, const text_or_ids& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  return model.text.tokens().decode(std::get<std::vector<std::int32_t>>(prompt), /*skip_special=*/true);
}

} // namespace

served_model::served_model(chat_text with, model::model_config of, std::string called)
    : text(std::move(with)), config(std::move(of)), name(std::move(called)),
      calls(tool_call_format_of(text.template_source())) {
  for (const auto marker : markers_of(calls))
    if (const auto id = text.tokens().id_of(marker); id && text.tokens().is_special(*id)) call_tokens.push_back(*id);
}

std::optional<api_error> other_model(const served_model& model, const std::string& asked) {
  if (asked.empty() || asked == model.name) return std::nullopt;
  return api_error{404, "no such model here; the one that is served: " + model.name, "invalid_request_error", "model",
                   "model_not_found"};
}

std::variant<std::vector<std::int32_t>, api_error> chat_prompt(const served_model& model, chat_request request) {
  auto prompt =
      model.text.chat_prompt(std::move(request.messages), {.add_generation_prompt = request.add_generation_prompt,
                                                           .tools = std::move(request.tools),
                                                           .extra = std::move(request.variables),
                                                           .now = std::chrono::system_clock::now()});
  if (prompt) return std::move(prompt).value();
  auto error = to_api_error(prompt.error());
  if (error.status == 400) error.param = "messages";
  return error;
}

std::variant<admission, api_error> admit_chat(const served_model& model, std::string_view body) {
  auto parsed = parse_chat_request(body, model.text.sampling());
  if (auto* error = std::get_if<api_error>(&parsed)) return std::move(*error);
  auto& request = std::get<chat_request>(parsed);
  if (auto error = suits(model, request.how)) return *std::move(error);

  auto work = work_of(model, request.how);
  auto form = form_of(model, request.how, work, "chatcmpl-");
  if (!request.tools.is_null() && model.calls != tool_call_format::none) {
    form.each.calls = {.format = model.calls,
                       .tools = std::make_shared<const nlohmann::ordered_json>(request.tools),
                       .only_one = !request.parallel_calls};
    form.each.shown_tokens = model.call_tokens;
  }
  const auto how = request.how;
  const auto ignored = request.ignored;
  auto prompt = chat_prompt(model, std::move(request));
  if (auto* error = std::get_if<api_error>(&prompt)) return std::move(*error);
  work.tokens = std::get<std::vector<std::int32_t>>(std::move(prompt));
  if (auto error = fits(model, how, work.tokens.size(), "messages")) return *std::move(error);
  form.prompt_tokens = std::int32_t(work.tokens.size());
  admission to{.work = {}, .form = std::move(form), .ignored = ignored};
  to.work.push_back(std::move(work));
  return to;
}

std::variant<admission, api_error> admit_completion(const served_model& model, std::string_view body) {
  auto parsed = parse_completion_request(body, model.text.sampling());
  if (auto* error = std::get_if<api_error>(&parsed)) return std::move(*error);
  auto& request = std::get<completion_request>(parsed);
  if (auto error = suits(model, request.how)) return *std::move(error);

  const auto shared = work_of(model, request.how);
  admission to{.work = {}, .form = form_of(model, request.how, shared, "cmpl-"), .ignored = request.ignored};
  to.form.form = &completion_reply();
  to.form.prompts = std::int32_t(request.prompts.size());
  to.form.each.start = model::text_start::continued;
  for (const auto& prompt : request.prompts) {
    auto work = shared;
    work.tokens = ids_of(model, prompt);
    if (auto error = fits(model, request.how, work.tokens.size(), "prompt")) return *std::move(error);
    if (!std::ranges::all_of(work.tokens, [&](auto id) { return id < model.config.vocab_size; }))
      return bad_request("prompt", "prompt must hold ids from 0 to " + std::to_string(model.config.vocab_size - 1));
    if (work.max_new_tokens == 0)
      work.max_new_tokens = std::min(std::max(default_completion_tokens, work.min_new_tokens),
                                     model.config.max_position_embeddings - std::int32_t(work.tokens.size()));
    to.form.prompt_tokens += std::int32_t(work.tokens.size());
    if (request.echo) to.form.echo.push_back(text_of(model, prompt));
    to.work.push_back(std::move(work));
  }
  return to;
}

} // namespace quadrant::actors::http
