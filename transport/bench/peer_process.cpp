#include "transport/bench/peer_process.hpp"

#include <cstring>
#include <memory>
#include <vector>

#include "transport/bench/raw_fan.hpp"

namespace quadrant::transport::bench {
namespace {

template <class T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

/// Runs of the raw connection, until it closes.
void serve_raw(const raw_socket& listener, std::span<std::byte> memory) {
  const auto s = listener.accept();
  raw_request r;
  while (s.receive_all(bytes_of(r))) {
    if (r.kind == raw_kind::fan) {
      serve_fan(listener, r.count, memory, r.bytes);
      continue;
    }
    std::size_t at = 0;
    for (std::uint64_t i = 0; i < r.count; ++i) {
      if (at + r.bytes > memory.size()) at = 0;
      if (!s.receive_all(memory.subspan(at, r.bytes))) return;
      if (r.kind == raw_kind::echo) s.send_all(memory.subspan(at, r.bytes));
      at += r.bytes;
    }
    if (r.kind == raw_kind::take) s.send_all(memory.first(1));
  }
}

/// What the other process says first.
struct greeting {
  std::uint16_t raw_port = 0;
  offers awake{}, asleep{};
};

/// The life of the other process.
void live(placing cores, const raw_socket& control) {
  const placement here(cores, false);
  greeting hello;
  std::vector<std::byte> memory(memory_bytes);
  const auto listener = raw_socket::listen_on_loopback();
  hello.raw_port = listener.port();
  const taker awake(memory, {.cluster_token = "bench"}),
      asleep(memory, {.cluster_token = "bench", .busy_poll = std::chrono::microseconds(0)});
  hello.awake = awake.what();
  hello.asleep = asleep.what();
  control.send_all(bytes_of(hello));
  serve_raw(listener, memory); // its thread; the endpoints have their own
}

} // namespace

taker::taker(std::span<std::byte> memory, endpoint_options options)
    : memory_(memory), wire_(std::move(make_endpoint(std::move(options))).value()) {
  what_.memory = wire_->register_memory(memory);
  const auto self = wire_->self();
  what_.sink = {self.endpoint, self.port, wire_->open_inbox([](std::span<const std::byte>) {})};
  what_.echo = {self.endpoint, self.port, wire_->open_inbox([this](std::span<const std::byte> message) {
                  echo_request r;
                  if (message.size() < sizeof r) return;
                  std::memcpy(&r, message.data(), sizeof r);
                  transfer back{.slices = {}, .message = {message.begin(), message.end()}, .kind = traffic::dispatch};
                  if (r.to.bytes > 0) back.slices = {{memory_.subspan(r.from, r.to.bytes), r.to}};
                  wire_->submit(to_address(r.back), std::move(back), {});
                })};
}

peer_process::peer_process(placing cores) : process_([cores](const raw_socket& control) { live(cores, control); }) {
  const auto hello = process_.greeting<greeting>();
  raw_port_ = hello.raw_port;
  raw_ = raw_socket::connect_to_loopback(raw_port_);
  awake_ = hello.awake;
  asleep_ = hello.asleep;
}

} // namespace quadrant::transport::bench
