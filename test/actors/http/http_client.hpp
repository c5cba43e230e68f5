// test/actors/http/http_client.hpp: a plain HTTP/1.1 client over a blocking socket; it says what came, and hangs up
// when told.
// Errors  a std::runtime_error: the test cannot go on
// Units   every wait ends after `patience`, which no healthy run needs
#pragma once
#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace quadrant::test {

struct http_answer {
  int status = 0;
  std::string head, body;
  [[nodiscard]] bool has(std::string_view field) const { return head.find(field) != std::string::npos; }
  /// The value of a field of the head; empty: it has none.
  [[nodiscard]] std::string field(const std::string& name) const {
    const auto at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const auto begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class http_client {
public:
  static constexpr int patience_s = 60;

  /// receive_bytes: what the kernel may hold for us; 0: as it likes.
  explicit http_client(std::uint16_t port, int receive_bytes = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval patience{patience_s, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (receive_bytes > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error("cannot connect");
  }
  ~http_client() { hang_up(); }
  http_client(http_client&& other) noexcept : fd_(std::exchange(other.fd_, -1)), in_(std::move(other.in_)) {}
  http_client& operator=(http_client&&) = delete;

  void hang_up() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// False once the server has closed the connection.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(std::size_t(n));
    }
    return true;
  }
  /// fields: of the head, each with its line end
  void post(std::string_view path, std::string_view body, const std::string& fields = {}) {
    send("POST " + std::string(path) + " HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n" + fields +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
  }
  void get(std::string_view path, const std::string& fields = {}) {
    send("GET " + std::string(path) + " HTTP/1.1\r\nHost: here\r\n" + fields + "\r\n");
  }

  /// The next head; with_body: the body too, however it is framed.
  http_answer receive(bool with_body = true) {
    http_answer answer;
    while (in_.find("\r\n\r\n") == std::string::npos) more();
    const auto end = in_.find("\r\n\r\n") + 4;
    answer.head = in_.substr(0, end);
    in_.erase(0, end);
    answer.status = std::stoi(answer.head.substr(9, 3));
    chunked_ = answer.has("Transfer-Encoding: chunked");
    if (!with_body) return answer;
    if (chunked_) {
      for (auto chunk = next_chunk(); !chunk.empty(); chunk = next_chunk()) answer.body += chunk;
    } else if (const auto at = answer.head.find("Content-Length: "); at != std::string::npos) {
      const auto size = std::stoul(answer.head.substr(at + 16));
      while (in_.size() < size) more();
      answer.body = in_.substr(0, size);
      in_.erase(0, size);
    } else {
      while (try_more()) {
      }
      answer.body = std::exchange(in_, {});
    }
    return answer;
  }
  /// The next piece of a chunked body; empty: its end.
  std::string next_chunk() {
    while (in_.find("\r\n") == std::string::npos) more();
    const auto line = in_.find("\r\n");
    const auto size = std::stoul(in_.substr(0, line), nullptr, 16);
    while (in_.size() < line + 2 + size + 2) more();
    auto chunk = in_.substr(line + 2, size);
    in_.erase(0, line + 2 + size + 2);
    return chunk;
  }
  /// True when the server has closed, and nothing more had come.
  bool at_end() { return in_.empty() && !try_more(); }

private:
  bool try_more() {
    char bytes[4096];
    const auto n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) throw std::runtime_error("nothing came for a minute");
    if (n > 0) in_.append(bytes, std::size_t(n));
    return n > 0;
  }
  void more() {
    if (!try_more()) throw std::runtime_error("the server closed the connection; what had come: " + in_);
  }

  int fd_;
  std::string in_;
  bool chunked_ = false;
};

inline http_answer fetch(std::uint16_t port, std::string_view path, const std::string& fields = {}) {
  http_client client(port);
  client.get(path, fields);
  return client.receive();
}
inline http_answer ask_at(std::uint16_t port, std::string_view path, std::string_view body,
                          const std::string& fields = {}) {
  http_client client(port);
  client.post(path, body, fields);
  return client.receive();
}
inline http_answer ask(std::uint16_t port, std::string_view body) {
  http_client client(port);
  client.post("/v1/chat/completions", body);
  return client.receive();
}

} // namespace quadrant::test
