#include "transport/shm/ring_stream.hpp"

#include <cerrno>
#include <cstdio>
#include <new>
#include <system_error>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/shm/descriptor_message.hpp"

namespace quadrant::transport::shm {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t head_bytes = sizeof(ring_head), total_bytes = connection_bytes;
constexpr std::size_t at_once = 64 << 10; ///< that is copied before the other side sees it
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW;

failure cannot(const char* what) {
  return {errc::unavailable, std::string("shared memory: ") + what + ": " + std::generic_category().message(errno)};
}

/// A descriptor that closes.
struct descriptor {
  int fd = -1;
  explicit descriptor(int f) : fd(f) {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  ~descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

} // namespace

struct ring_stream::mapping {
  std::byte* at = nullptr;
  explicit mapping(int fd) {
    void* const p = ::mmap(nullptr, total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED) at = static_cast<std::byte*>(p);
  }
  mapping(const mapping&) = delete;
  mapping& operator=(const mapping&) = delete;
  ~mapping() {
    if (at != nullptr) ::munmap(at, total_bytes);
  }
  [[nodiscard]] ring_head& head(bool of_listener) const {
    return *std::launder(reinterpret_cast<ring_head*>(of_listener ? at : at + head_bytes + to_listener));
  }
  [[nodiscard]] std::span<std::byte> bytes(bool of_listener) const {
    return of_listener ? std::span(at + head_bytes, to_listener)
                       : std::span(at + 2 * head_bytes + to_listener, to_dialler);
  }
};

asio::local::stream_protocol::endpoint place_of(std::uint64_t endpoint) {
  char name[64];
  const int n = std::snprintf(name, sizeof name, "%cquadrant/%016llx", '\0', static_cast<unsigned long long>(endpoint));
  return {std::string(name, std::size_t(n))};
}

result<std::unique_ptr<stream::byte_stream>> ring_stream::dial(socket connected, stream::poll_set& set) {
  const descriptor memory(::memfd_create("quadrant-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (memory.fd < 0 || ::ftruncate(memory.fd, off_t(total_bytes)) != 0) return cannot("it cannot be made");
  if (::fcntl(memory.fd, F_ADD_SEALS, seals) != 0) return cannot("it cannot be sealed");
  auto mapped = std::make_unique<mapping>(memory.fd);
  if (mapped->at == nullptr) return cannot("it cannot be mapped");
  if (!descriptor_message().send(connected.native_handle(), memory.fd)) return cannot("it cannot be passed on");
  return std::unique_ptr<byte_stream>(new ring_stream(std::move(connected), set, std::move(mapped), true));
}

result<std::unique_ptr<stream::byte_stream>> ring_stream::accept(socket connected, stream::poll_set& set) {
  const auto came = descriptor_message().receive(connected.native_handle());
  if (!came) return {errc::corrupt, "no memory came over a Unix socket"};
  const descriptor memory(*came);
  struct stat about {};
  // Sealed, or whoever made it could take it away under our hands.
  if (::fstat(memory.fd, &about) != 0 || std::size_t(about.st_size) != total_bytes ||
      (::fcntl(memory.fd, F_GET_SEALS) & seals) != seals)
    return {errc::corrupt, "what came over a Unix socket is not the memory of a connection"};
  auto mapped = std::make_unique<mapping>(memory.fd);
  if (mapped->at == nullptr) return cannot("it cannot be mapped");
  return std::unique_ptr<byte_stream>(new ring_stream(std::move(connected), set, std::move(mapped), false));
}

ring_stream::ring_stream(socket connected, stream::poll_set& set, std::unique_ptr<mapping> memory, bool dialler)
    : socket_(std::move(connected)), set_(set), memory_(std::move(memory)),
      out_(memory_->head(dialler), memory_->bytes(dialler)), in_(memory_->head(!dialler), memory_->bytes(!dialler)) {
  set_.add(*this);
  error_code ignored;
  socket_.non_blocking(true, ignored);
  watch_socket();
}

ring_stream::~ring_stream() {
  *lives_ = false;
  set_.remove(*this);
}

/// A byte there is a call to look at the rings: that this thread runs at all is enough.
void ring_stream::watch_socket() {
  socket_.async_read_some(asio::buffer(woken_), [this, lives = lives_](error_code e, std::size_t) {
    if (!*lives) return;
    if (e)
      ended_ = true; // what is in the ring can still be read
    else
      watch_socket();
  });
}

/// Where the socket is full, the other side has calls enough.
void ring_stream::wake() {
  const std::byte one{};
  (void)::send(socket_.native_handle(), &one, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void ring_stream::read_some(std::span<const asio::mutable_buffer> into, handler done) {
  into_.assign(into.begin(), into.end());
  read_done_ = std::move(done);
}

void ring_stream::cancel_read() { cancelled_ = true; }

void ring_stream::write(std::vector<asio::const_buffer> from, handler done) {
  from_ = std::move(from);
  part_ = done_of_part_ = written_ = 0;
  write_done_ = std::move(done);
  poll_write(); // only copies: who is told, is told by poll()
}

void ring_stream::close() {
  if (std::exchange(ended_, true) && !socket_.is_open()) return;
  error_code ignored;
  socket_.close(ignored);
  into_.clear();
  from_.clear();
  // Not here: a handler may own what owns this.
  for (auto* which : {&read_done_, &write_done_})
    if (*which)
      asio::post(socket_.get_executor(),
                 [done = std::exchange(*which, {})] { done(asio::error::operation_aborted, 0); });
}

void ring_stream::fail(handler& which, error_code why) {
  const auto done = std::exchange(which, {});
  done(why, 0);
}

std::size_t ring_stream::poll() {
  const auto lives = lives_;
  if (std::exchange(sleeps_, false)) {
    in_.set_sleeps(false);
    out_.set_sleeps(false);
  }
  std::size_t done = 0;
  if (read_done_ && poll_read()) ++done;
  if (!*lives) return done;
  if (write_done_) {
    poll_write();
    if (part_ == from_.size()) {
      const auto told = std::exchange(write_done_, {});
      told({}, written_);
      ++done;
    } else if (ended_) {
      fail(write_done_, asio::error::broken_pipe);
      ++done;
    }
  }
  return done;
}

/// True where a handler ran.
bool ring_stream::poll_read() {
  if (std::exchange(cancelled_, false)) {
    fail(read_done_, asio::error::operation_aborted);
    return true;
  }
  std::size_t sum = 0;
  for (const auto& where : into_) {
    if (where.size() == 0) continue;
    const auto n = in_.read({static_cast<std::byte*>(where.data()), where.size()});
    if (!n) {
      fail(read_done_, asio::error::connection_aborted);
      return true;
    }
    sum += *n;
    if (*n < where.size()) break;
  }
  if (sum == 0 && !ended_) return false;
  heard_ = heard_ || sum > 0;
  if (sum > 0 && in_.must_wake()) wake();
  const auto told = std::exchange(read_done_, {});
  sum > 0 ? told({}, sum) : told(asio::error::eof, 0);
  return true;
}

bool ring_stream::poll_write() {
  bool moved = false;
  while (part_ < from_.size()) {
    const auto& from = from_[part_];
    const auto* bytes = static_cast<const std::byte*>(from.data()) + done_of_part_;
    const auto n = out_.write({bytes, std::min(from.size() - done_of_part_, at_once)});
    if (!n) {
      ended_ = true; // the other side broke the rules
      break;
    }
    moved = moved || *n > 0;
    written_ += *n;
    done_of_part_ += *n;
    if (done_of_part_ == from.size())
      ++part_, done_of_part_ = 0;
    else if (*n == 0)
      break;
    if (moved && out_.must_wake()) wake();
  }
  return moved;
}

bool ring_stream::prepare_to_sleep() {
  sleeps_ = true;
  heard_ = false;
  if (read_done_) in_.set_sleeps(true);
  if (write_done_) out_.set_sleeps(true);
  const bool can_read = read_done_ && (cancelled_ || ended_ || in_.has_bytes());
  const bool can_write = write_done_ && (part_ == from_.size() || ended_ || out_.has_room());
  return !can_read && !can_write;
}

bool ring_stream::shares_core() const { return heard_ && in_.writer_core() == ::sched_getcpu(); }

} // namespace quadrant::transport::shm
