#include <caf/all.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>

#include "actors/wire.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors;

namespace {

msg::request_spec spec_of(const std::vector<std::int32_t>& tokens) {
  return msg::request_spec::make(
      [&](wire::RequestSpec::Builder& b) {
        b.setId(7);
        write_ints([&](unsigned n) { return b.initTokens(n); }, tokens);
        b.setMaxNewTokens(3);
        write(b.initSampling(), gpu::sampling{.temperature = 0.5f, .seed = 99});
      },
      42);
}

} // namespace

TEST_CASE("an envelope gives back what was put in, also where the first segment overflowed") {
  test::property("any number of tokens", [](const std::vector<std::int32_t>& tokens) {
    const auto message = spec_of(tokens);
    const auto view = message.view();
    RC_ASSERT(view->getId() == 7u);
    RC_ASSERT(read_ints(view->getTokens()) == tokens);
    RC_ASSERT(read(view->getSampling()).seed == 99u);
    RC_ASSERT(message.mark().trace == 42u);
  });
}

TEST_CASE("an envelope survives CAF's wire") {
  caf::actor_system_config config;
  caf::actor_system system(config);
  test::property("serialised and read back", [&](const std::vector<std::int32_t>& tokens) {
    auto sent = spec_of(tokens);
    std::vector<char> bytes;
    caf::binary_serializer out(system, bytes);
    RC_ASSERT(!out(sent));
    msg::request_spec got;
    caf::binary_deserializer in(system, bytes);
    RC_ASSERT(!in(got));
    RC_ASSERT(read_ints(got.view()->getTokens()) == tokens);
    RC_ASSERT(got.mark().trace == 42u);
  });
  test::property(
      "broken bytes are refused or read, never more",
      [&](const std::vector<std::int32_t>& tokens) {
        auto sent = spec_of(tokens);
        std::vector<char> bytes;
        caf::binary_serializer out(system, bytes);
        RC_ASSERT(!out(sent));
        const auto changes = *rc::gen::inRange(1, 6);
        for (int i = 0; i < changes; ++i)
          bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = *rc::gen::arbitrary<char>();
        bytes.resize(*rc::gen::inRange<std::size_t>(0, bytes.size() + 1));
        msg::request_spec got;
        caf::binary_deserializer in(system, bytes);
        if (in(got)) return; // refused
        try {
          const auto view = got.view();
          (void)read_ints(view->getTokens());
          (void)read(view->getSampling());
        } catch (const kj::Exception&) {
        } // Cap'n Proto's own refusal of a pointer
      },
      500);
}

TEST_CASE("bytes from the data plane are a message or an error") {
  test::property(
      "broken arrivals",
      [](std::vector<std::uint8_t> noise) {
        auto good = to_bytes(msg::arrival::make([](wire::Arrival::Builder& b) {
          auto d = b.initDispatch();
          auto counts = d.initCounts(8);
          for (unsigned i = 0; i < 8; ++i) counts.set(i, std::int32_t(i));
          d.initReplyTo().setHost("127.0.0.1");
        }));
        for (const auto n : noise) good[*rc::gen::inRange<std::size_t>(0, good.size())] = std::byte(n);
        const auto message = from_bytes<wire::Arrival>(good);
        if (!message) return;
        try {
          const auto view = message->view();
          if (view->which() == wire::Arrival::DISPATCH) (void)read_ints(view->getDispatch().getCounts());
        } catch (const kj::Exception&) {
        }
      },
      300);
  CHECK(from_bytes<wire::Arrival>({}).error().code == errc::corrupt);
  const std::byte odd[3]{};
  CHECK(from_bytes<wire::Arrival>(odd).error().code == errc::corrupt);
}

TEST_CASE("a failure keeps its code and its words through CAF") {
  const failure f{errc::out_of_blocks, "the queue is full"};
  CHECK(to_failure(to_error(f)).code == errc::out_of_blocks);
  CHECK(to_failure(to_error(f)).message == "the queue is full");
  CHECK(to_failure(caf::make_error(caf::sec::request_timeout)).code == errc::unavailable);
}
