#include <nlohmann/json.hpp>

#include "actors/chat_text.hpp"
#include "test/actors/answers.hpp"
#include "test/model/tiny_checkpoint.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using test::ask;

namespace {

std::unique_ptr<actors::engine> start(const test::tiny_checkpoint& model, topology t) {
  t.prefill_kv_blocks = 64;
  t.decode_kv_blocks = 64;
  t.decode_max_sequences = 8;
  auto engine = actors::engine::start({.model = model.path(), .layout = std::move(t)});
  REQUIRE_MESSAGE(engine.ok(), engine.error().message);
  return std::move(*engine);
}

topology all_apart() {
  topology t;
  t.prefill_pp = 2;
  t.prefill_tp = 2;
  t.decode_tp = 2;
  t.decode_micro_batches = 2;
  t.experts_prefill_ep = 2;
  t.experts_decode_ep = 2;
  t.prefill_chunk_tokens = 32;
  t.prefill_micro_batch_tokens = 48;
  return t;
}

actors::generation prompt(std::int32_t tokens, std::int32_t new_tokens) {
  actors::generation g;
  for (std::int32_t i = 0; i < tokens; ++i) g.tokens.push_back((i * 37 + tokens) % test::tiny_checkpoint::vocab);
  g.max_new_tokens = new_tokens;
  return g;
}

} // namespace

TEST_CASE("more requests than slots, half of them cancelled on the way: the rest is right and everything comes home") {
  const test::tiny_checkpoint model(3);
  const auto one = start(model, {});
  const auto engine = start(model, all_apart());
  std::vector<test::asked> open;
  for (std::int32_t i = 0; i < 24; ++i) open.push_back(ask(*engine, prompt(1 + i * 9, 20)));
  for (std::size_t i = 1; i < open.size(); i += 2) engine->cancel(open[i].id);
  for (std::size_t i = 0; i < open.size(); ++i) {
    const auto got = open[i].sink->wait();
    REQUIRE_MESSAGE(got.ok(), got.error().message);
    const auto alone = ask(*one, prompt(1 + std::int32_t(i) * 9, 20)).sink->wait();
    REQUIRE(alone.ok());
    if (i % 2 == 0) {
      CHECK(*got == *alone);
    } else { // whatever came before the cancellation is a part of the answer
      REQUIRE(got->tokens.size() <= alone->tokens.size());
      CHECK(std::equal(got->tokens.begin(), got->tokens.end(), alone->tokens.begin()));
    }
  }
  for (auto* e : {engine.get(), one.get()}) {
    const auto now = test::settled(*e);
    CHECK(now.serving);
    CHECK(now.blocks_used == 0);
    CHECK(now.blocks_free + now.blocks_cached == now.blocks_total);
    CHECK(now.leases == 0);
    CHECK(now.requests_live == 0);
    CHECK(now.credits_out == 0);
  }
}

TEST_CASE("a cancelled stream ends at once and frees its blocks while others go on") {
  const test::tiny_checkpoint model(4);
  const auto engine = start(model, {});
  const auto stays = ask(*engine, prompt(5, 400)), leaves = ask(*engine, prompt(9, 400));
  REQUIRE(leaves.sink->has(3));
  engine->cancel(leaves.id);
  const auto ended = leaves.sink->wait();
  REQUIRE(ended.ok());
  CHECK(ended->why == actors::finish::cancelled);
  CHECK(ended->tokens.size() < 400);
  engine->cancel(leaves.id); // again, and of nobody: nothing happens
  engine->cancel(12345);
  const auto whole = stays.sink->wait();
  REQUIRE(whole.ok());
  CHECK(whole->tokens.size() == 400);
  CHECK(test::settled(*engine).blocks_used == 0);
}

TEST_CASE("a sink that throws ends its request and holds nothing") {
  class thrower final : public actors::token_sink {
  public:
    void token(const actors::made_token& t) override {
      if (t.index == at) throw std::runtime_error("no more");
    }
    void logits(std::int32_t, std::int32_t, std::span<const float>) override {}
    void finished(std::int32_t, actors::finish) override { end(); }
    void failed(const failure&) override { end(); }
    void end() {
      ended.set_value();
      throw std::runtime_error("nor this");
    }
    std::int32_t at = 0;
    std::promise<void> ended;
  };
  const test::tiny_checkpoint model(10);
  const auto engine = start(model, {});
  for (const std::int32_t at : {0, 3, -1}) { // -1: its end only
    const auto sink = std::make_shared<thrower>();
    sink->at = at;
    engine->submit(prompt(5, at < 0 ? 1 : 400), sink);
    CHECK(sink->ended.get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready);
  }
  const auto now = test::settled(*engine);
  CHECK(now.serving);
  CHECK(now.blocks_used == 0);
  CHECK(now.requests_live == 0);
  CHECK(ask(*engine, prompt(5, 4)).sink->wait().ok());
}

TEST_CASE("what cannot be served is refused in one line") {
  const test::tiny_checkpoint model(5);
  const auto engine = start(model, {});
  const auto refused = [&](actors::generation g) {
    const auto got = ask(*engine, std::move(g)).sink->wait();
    return got ? std::string("served") : got.error().message;
  };
  CHECK(refused({}) == "a prompt needs at least one token");
  CHECK(refused({.tokens = {1, 128}}) == "token 128 is not in the vocabulary of 128");
  CHECK(refused({.tokens = {-1}}) == "token -1 is not in the vocabulary of 128");
  CHECK(refused(prompt(4, 1 << 20)).find("positions") != std::string::npos);
  CHECK(refused(prompt(4, 4)) == "served");
  auto g = prompt(4, 4);
  g.samples = 65;
  CHECK(refused(g).find("there can be 1 to 8") != std::string::npos);
  g = prompt(4, 4);
  g.min_new_tokens = 5;
  CHECK(refused(g) == "at least 5 new tokens are wanted, but at most 4");
  g = prompt(4, 4);
  g.bias = {{128, 1}};
  CHECK(refused(g).find("the bias of token 128") != std::string::npos);
  g = prompt(4, 4);
  g.sampling.repetition = 0;
  CHECK(refused(g).find("above 0") != std::string::npos);
  g = prompt(4, 4);
  g.top_logprobs = 21;
  CHECK(refused(g).find("at most 20") != std::string::npos);
  g = prompt(4, 4);
  g.form = actors::answer_form::json_object; // the checkpoint has no tokenizer
  CHECK(refused(g).find("tokenizer.json") != std::string::npos);
}

TEST_CASE("stop tokens end an answer, and the answer names why") {
  const test::tiny_checkpoint model(6);
  const auto engine = start(model, {});
  const auto whole = ask(*engine, prompt(12, 30)).sink->wait();
  REQUIRE(whole.ok());
  CHECK(whole->why == actors::finish::length);
  auto g = prompt(12, 30);
  g.stop_tokens = {whole->tokens[10]};
  const auto stopped = ask(*engine, g).sink->wait();
  REQUIRE(stopped.ok());
  CHECK(stopped->why == actors::finish::stop);
  const auto first = std::size_t(std::ranges::find(whole->tokens, g.stop_tokens[0]) - whole->tokens.begin());
  CHECK(stopped->tokens.size() == first + 1);
}

TEST_CASE("samples of one prompt are those of separate requests, end one by one, and share its KV") {
  const test::tiny_checkpoint model(6);
  for (const auto& layout : {topology{}, all_apart()}) {
    const auto engine = start(model, layout);
    auto g = prompt(150, 40);
    g.sampling.temperature = 1;
    g.sampling.seed = 5;
    std::vector<test::answer> apart;
    for (std::uint32_t i = 0; i < 3; ++i) {
      g.sampling.sample_index = i;
      auto one = ask(*engine, g).sink->wait();
      REQUIRE(one.ok());
      apart.push_back(std::move(*one));
    }
    CHECK(apart[0].tokens != apart[1].tokens);
    g.sampling.sample_index = 0;
    g.samples = 3;
    const auto together = ask(*engine, g).sink->wait_all();
    REQUIRE(together.ok());
    CHECK(*together == apart);

    g.max_new_tokens = 400;
    const auto open = ask(*engine, g);
    REQUIRE(open.sink->has(6));
    engine->cancel(open.id, 1);
    engine->cancel(open.id, 1); // again, and what is not there
    engine->cancel(open.id, 7);
    const auto rest = open.sink->wait_all();
    REQUIRE(rest.ok());
    CHECK((*rest)[1].why == actors::finish::cancelled);
    CHECK((*rest)[1].tokens.size() < 400);
    for (const std::size_t i : {0, 2}) {
      CHECK((*rest)[i].tokens.size() == 400);
      CHECK(std::equal(apart[i].tokens.begin(), apart[i].tokens.end(), (*rest)[i].tokens.begin()));
    }
    const auto now = test::settled(*engine);
    CHECK(now.blocks_used == 0);
    CHECK(now.leases == 0);
    CHECK(now.blocks_free + now.blocks_cached == now.blocks_total);
  }
}

TEST_CASE("a prompt that begins like an earlier one is computed from there on, with the same answer") {
  const test::tiny_checkpoint model(6);
  const auto engine = start(model, all_apart());
  const auto first = ask(*engine, prompt(200, 10));
  const auto once = first.sink->wait();
  CHECK(first.sink->cached_tokens() == 0);
  const auto second = ask(*engine, prompt(200, 10));
  const auto again = second.sink->wait();
  REQUIRE((once.ok() && again.ok()));
  CHECK(*again == *once);
  CHECK(second.sink->cached_tokens() == 192);
  auto longer = prompt(200, 10);
  longer.tokens.resize(330, 7);
  const auto third = ask(*engine, longer);
  REQUIRE(third.sink->wait().ok());
  CHECK(third.sink->cached_tokens() == 192);
  auto whole = prompt(200, 0);
  whole.all_logits = true;
  const auto logits = ask(*engine, whole);
  CHECK(logits.sink->wait()->logits.size() == std::size_t(200) * test::tiny_checkpoint::vocab);
  CHECK(test::settled(*engine).blocks_cached > 0);
}

TEST_CASE("min_new_tokens, biases and logprobs do what they say") {
  const test::tiny_checkpoint model(6);
  const auto engine = start(model, {});
  auto g = prompt(12, 30);
  g.top_logprobs = 2;
  const auto whole = ask(*engine, g).sink->wait();
  REQUIRE(whole.ok());
  REQUIRE(whole->logprobs.size() == 30u * 3);
  for (std::size_t i = 0; i < 30; ++i) { // greedy: its own is the likeliest
    CHECK(whole->logprobs[3 * i].first == whole->tokens[i]);
    CHECK(whole->logprobs[3 * i] == whole->logprobs[3 * i + 1]);
    CHECK(whole->logprobs[3 * i + 1].second >= whole->logprobs[3 * i + 2].second);
    CHECK(whole->logprobs[3 * i].second <= 0);
  }
  g.stop_tokens = {whole->tokens[3]};
  g.min_new_tokens = 20;
  const auto late = ask(*engine, g).sink->wait();
  REQUIRE(late.ok());
  CHECK(late->tokens.size() > 20);
  CHECK(std::find(late->tokens.begin(), late->tokens.begin() + 20, whole->tokens[3]) == late->tokens.begin() + 20);

  auto pushed = prompt(12, 30);
  pushed.bias = {{77, 1000}};
  const auto same = ask(*engine, pushed).sink->wait();
  CHECK(same->tokens == std::vector<std::int32_t>(30, 77));
  pushed.sampling.presence = 2000; // for what the answer holds
  CHECK(ask(*engine, pushed).sink->wait()->tokens[1] != 77);
}

TEST_CASE("an answer that must be a JSON object is one") {
  const auto directory = test::default_model();
  auto started = actors::engine::start({.model = directory, .layout = {}});
  REQUIRE(started.ok());
  auto& engine = **started;
  const auto text = actors::chat_text::open(directory, engine.config());
  REQUIRE(text.ok());
  int whole = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    actors::generation g{.tokens = text->prompt("What is a river?").value(), .max_new_tokens = 120};
    g.stop_tokens = text->stop_tokens();
    g.sampling.temperature = seed == 0 ? 0.0f : 1.0f;
    g.sampling.seed = seed;
    g.form = actors::answer_form::json_object;
    for (const auto* mark : {"\"", "}", ":"}) // a dictionary seldom comes to the end of an object by itself
      g.bias.push_back({text->tokens().id_of(mark).value(), seed % 2 == 0 ? 8.0f : 12.0f});
    g.samples = seed == 3 ? 4 : 1;
    const auto answers = ask(engine, g).sink->wait_all();
    REQUIRE(answers.ok());
    for (const auto& a : *answers) {
      const auto said = text->tokens().decode(a.tokens, true);
      CHECK(said.find('{') == said.find_first_not_of(" \t\r\n"));
      if (a.why != actors::finish::stop) continue; // cut
      ++whole;
      CHECK_MESSAGE(nlohmann::json::parse(said, nullptr, false).is_object(), said);
    }
  }
  CHECK(whole > 0);
}

TEST_CASE("the logits of a prompt are the same from one worker and from many") {
  const test::tiny_checkpoint model(7);
  const auto one = start(model, {}), many = start(model, all_apart());
  auto g = prompt(101, 0);
  g.all_logits = true;
  const auto a = ask(*one, g).sink->wait(), b = ask(*many, g).sink->wait();
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  CHECK(a->logits.size() == std::size_t(101) * test::tiny_checkpoint::vocab);
  CHECK(a->logits == b->logits);
  CHECK(test::settled(*many).blocks_used == 0);
}

TEST_CASE("status names every actor of the design") {
  const test::tiny_checkpoint model(8);
  const auto engine = start(model, all_apart()), other = start(model, {});
  const auto running = ask(*engine, prompt(100, 300));
  REQUIRE(running.sink->has(1));
  const auto now = engine->status();
  const auto has = [&](const std::string& role) {
    return std::ranges::any_of(now.actors, [&](const auto& a) { return a.role == role; });
  };
  for (const auto* role :
       {"gateway", "router", "prefill planner", "supervisor", "node agent", "request", "prefill shard prefill.1.1",
        "decode worker decode.1", "expert group experts.prefill.1", "expert group experts.decode.0"})
    CHECK_MESSAGE(has(role), role);
  CHECK(now.requests_live == 1);
  for (auto* e : {engine.get(), other.get()}) // of the two engines in this process each knows its own actors
    CHECK(std::ranges::count(e->status().actors, "gateway", &actors::actor_status::role) == 1);
  CHECK(now.blocks_used > 0);
  CHECK(running.sink->wait().ok());
  const auto later = test::settled(*engine);
  CHECK(
      std::ranges::none_of(later.actors, [](const auto& a) { return a.role == "request" || a.role == "kv transfer"; }));
}

TEST_CASE("an engine that ends under load answers every request") {
  const test::tiny_checkpoint model(9);
  auto engine = start(model, all_apart());
  std::vector<test::asked> open;
  for (std::int32_t i = 0; i < 6; ++i) open.push_back(ask(*engine, prompt(10 + i, 400)));
  REQUIRE(open[0].sink->has(2));
  engine.reset();
  for (const auto& o : open) {
    const auto got = o.sink->wait(std::chrono::seconds(5));
    if (!got) CHECK(got.error().code == errc::cancelled);
  }
}
