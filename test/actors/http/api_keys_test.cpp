#include <filesystem>
#include <fstream>

#include <doctest/doctest.h>

#include "actors/http/api_keys.hpp"
#include "config/hash.hpp"
#include "config/random.hpp"

using namespace quadrant;
using actors::http::api_keys;

namespace {

/// A file that is there as long as this.
struct key_file {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("api_keys_test." + to_hex(random_u64()));
  explicit key_file(const std::string& text) { std::ofstream(path) << text; }
  ~key_file() { std::filesystem::remove(path); }
  key_file(const key_file&) = delete;
  key_file& operator=(const key_file&) = delete;
};

} // namespace

TEST_CASE("without keys everybody may ask") {
  const api_keys none;
  CHECK(none.empty());
  CHECK(none.allow(""));
  CHECK(none.allow("Bearer anything"));
}

TEST_CASE("any of the keys opens, shown as the API says, and nothing else does") {
  api_keys keys;
  CHECK(keys.add("first-key"));
  CHECK(keys.add("second/key+="));
  for (const auto* good : {"Bearer first-key", "bearer first-key", "BEARER  second/key+= "}) {
    CAPTURE(good);
    CHECK(keys.allow(good));
  }
  for (const auto* bad :
       {"", "Bearer", "Bearer ", "first-key", "Basic first-key", "Bearer first-ke", "Bearer first-key2",
        "Bearer first-key second/key+=", "Bearer FIRST-KEY", "Bearerfirst-key"}) {
    CAPTURE(bad);
    CHECK(!keys.allow(bad));
  }
}

TEST_CASE("keys come from a file, one a line; what is none is named by its line") {
  const key_file good("# ours\n  one \r\n\ntwo # the second\n#three\n");
  api_keys keys;
  REQUIRE(keys.add_file(good.path));
  CHECK(keys.allow("Bearer one"));
  CHECK(keys.allow("Bearer two"));
  CHECK(!keys.allow("Bearer three"));
  const key_file bad("one\ntwo three\n"), empty("# nothing\n");
  CHECK(keys.add_file(bad.path).error().message.find(bad.path.string() + ":2: ") == 0);
  CHECK(keys.add_file(empty.path).error().code == errc::invalid_argument);
  CHECK(keys.add_file("/nowhere/at/all").error().code == errc::not_found);
  for (const auto* wrong : {"", "a b", "a\tb", "k\xc3\xa9y"}) CHECK(!keys.add(wrong));
}

TEST_CASE("a file that every user may read is noticed") {
  using std::filesystem::perms;
  const key_file file("key\n");
  std::filesystem::permissions(file.path, perms::owner_read);
  CHECK(!actors::http::is_world_readable(file.path));
  std::filesystem::permissions(file.path, perms::owner_read | perms::others_read);
  CHECK(actors::http::is_world_readable(file.path));
}
