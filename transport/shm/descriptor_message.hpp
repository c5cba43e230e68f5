// transport/shm/descriptor_message.hpp: one byte over a Unix socket, with a file descriptor beside it.
#pragma once
#include <cstddef>
#include <cstring>
#include <optional>

#include <sys/socket.h>

namespace quadrant::transport::shm {

class descriptor_message {
public:
  descriptor_message() {
    message_.msg_iov = &text_;
    message_.msg_iovlen = 1;
    message_.msg_control = control_;
    message_.msg_controllen = sizeof control_;
  }
  descriptor_message(const descriptor_message&) = delete;
  descriptor_message& operator=(const descriptor_message&) = delete;

  bool send(int socket, int descriptor) {
    auto* head = CMSG_FIRSTHDR(&message_);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &descriptor, sizeof(int));
    return ::sendmsg(socket, &message_, MSG_NOSIGNAL) == 1;
  }
  /// The descriptor, which is the caller's to close; nothing where none came. Never waits.
  std::optional<int> receive(int socket) {
    const auto n = ::recvmsg(socket, &message_, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    const auto* head = n == 1 ? CMSG_FIRSTHDR(&message_) : nullptr;
    if (head == nullptr || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS ||
        head->cmsg_len != CMSG_LEN(sizeof(int)))
      return std::nullopt;
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(head), sizeof descriptor);
    return descriptor;
  }

private:
  std::byte byte_{};
  iovec text_{&byte_, 1};
  alignas(cmsghdr) char control_[CMSG_SPACE(sizeof(int))] = {};
  msghdr message_{};
};

} // namespace quadrant::transport::shm
