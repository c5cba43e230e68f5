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
    CHECK(now.blocks_free == now.blocks_total);
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
