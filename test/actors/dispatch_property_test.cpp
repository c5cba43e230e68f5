#include "actors/expert_group.hpp"
#include "actors/wire.hpp"
#include "test/support/property.hpp"

using namespace quadrant;
using namespace quadrant::actors;
using quadrant::test::property;

namespace {

std::vector<std::byte> good_bytes() {
  return to_bytes(msg::arrival::make([](wire::Arrival::Builder& b) {
    auto d = b.initDispatch();
    d.setCaller(3);
    d.setSlot(1);
    d.setOrdinal(7);
    d.setLayer(2);
    write_ints([&](unsigned n) { return d.initCounts(n); }, std::vector<std::int32_t>{4, 0, 5});
    write(d.initReplyTo(), transport::address{11, "127.0.0.1", 99, 5});
    write(d.initOut(), transport::remote_span{21, 64, 4096});
  }));
}

} // namespace

TEST_CASE("a dispatch is read back, and one with changed bytes is a dispatch or an error") {
  const auto arrived = from_bytes<wire::Arrival>(good_bytes());
  REQUIRE(arrived.ok());
  const auto d = dispatch::parse(*arrived);
  REQUIRE(d.ok());
  CHECK(d->caller == 3);
  CHECK(d->layer == 2);
  CHECK(d->counts == std::vector<std::int32_t>{4, 0, 5});
  CHECK(d->reply_to.host == "127.0.0.1");
  CHECK(d->out.bytes == 4096);

  property(
      "under any bytes",
      [] {
        auto bytes = good_bytes();
        const auto hits = *rc::gen::inRange(1, 4);
        for (int i = 0; i < hits; ++i)
          bytes[*rc::gen::inRange<std::size_t>(0, bytes.size())] = std::byte(*rc::gen::arbitrary<unsigned char>());
        const auto message = from_bytes<wire::Arrival>(bytes);
        if (!message) return;
        if (const auto read = dispatch::parse(*message); !read) RC_ASSERT((read.error().code == errc::corrupt));
      },
      1000);
}
