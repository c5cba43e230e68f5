// test/transport/mortal_server.hpp: a party in a process of its own, which a test can stop and kill.
// Threads made while this process has one, because it forks
#pragma once
#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include "config/check.hpp"
#include "test/transport/party.hpp"

namespace quadrant::test {

class mortal_server {
public:
  mortal_server(std::size_t bytes, const transport::endpoint_options& options) {
    int told[2];
    QCHECK_EQ(::pipe(told), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      party server(bytes, options);
      const std::uint64_t words[] = {server.self.endpoint, server.self.port, server.self.inbox, server.span.key};
      QCHECK(::write(told[1], words, sizeof words) == ssize_t(sizeof words));
      ::pause();
    }
    std::uint64_t words[4];
    ::close(told[1]);
    QCHECK(::read(told[0], words, sizeof words) == ssize_t(sizeof words));
    ::close(told[0]);
    self_ = {words[0], "127.0.0.1", std::uint16_t(words[1]), std::uint32_t(words[2])};
    memory_ = {words[3], 0, bytes};
  }
  ~mortal_server() {
    if (pid_ > 0) kill();
  }
  mortal_server(const mortal_server&) = delete;
  mortal_server& operator=(const mortal_server&) = delete;

  [[nodiscard]] const transport::address& self() const { return self_; }
  [[nodiscard]] const transport::remote_span& memory() const { return memory_; }
  void stop() const { ::kill(pid_, SIGSTOP); }
  void kill() {
    ::kill(pid_, SIGKILL);
    ::waitpid(std::exchange(pid_, -1), nullptr, 0);
  }

private:
  pid_t pid_ = -1;
  transport::address self_;
  transport::remote_span memory_;
};

/// It dies while transfers to it are under way: they have all failed then, soon.
inline bool death_is_noticed(mortal_server& server, party& client) {
  outcomes done;
  client.wire->submit(server.self(), {.slices = {}, .message = bytes_of("there?")}, done.next());
  if (!done.of(0).ok()) return false;
  server.stop();
  for (int i = 0; i < 4; ++i)
    client.wire->submit(server.self(), {.slices = {{client.memory, server.memory()}}, .message = {}}, done.next());
  if (!eventually([&] { return client.wire->books().credits_out > 0; })) return false;
  server.kill();
  for (std::size_t i = 1; i < 5; ++i) {
    const auto outcome = done.of(i);
    if (outcome || outcome.error().code != errc::peer_lost) return false;
  }
  return eventually([&] { return client.wire->books().peers == 0; });
}

} // namespace quadrant::test
