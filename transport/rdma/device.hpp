// transport/rdma/device.hpp: an RDMA device of this machine, and memory that it may read and write.
//
//   device::open ─▶ device (context, protection domain, port, GID) ─▶ registered_memory ─▶ lkey here, rkey for peers
//
// Who knows an rkey, and has a queue pair to this process, may write all of that memory until it is deregistered; the
// device checks key and bounds of every access.
// Errors  errc::unavailable: there is no such device, no active port, no memory to lock: the message says which
// Threads any; one owner for each registered_memory
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "config/result.hpp"

struct ibv_context;
struct ibv_pd;
struct ibv_mr;

namespace quadrant::transport::rdma {

using gid = std::array<std::byte, 16>; ///< of a port: RoCE v2 addresses it with this

class device {
public:
  /// name empty: the first one with an active port.
  static result<std::shared_ptr<device>> open(std::string_view name = {});
  ~device();
  device(const device&) = delete;
  device& operator=(const device&) = delete;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const gid& address() const noexcept { return gid_; }

private:
  device() = default;
  friend class queue_pair;
  friend class registered_memory;

  std::string name_;
  ibv_context* context_ = nullptr;
  ibv_pd* domain_ = nullptr;
  gid gid_{};
  int gid_index_ = 0;
  int mtu_ = 0; ///< enum ibv_mtu
  std::uint16_t lid_ = 0;
};

/// Memory that is locked and known to the device, until this goes. It must stay valid as long.
class registered_memory {
public:
  static result<registered_memory> make(std::shared_ptr<device> device, std::span<std::byte> memory);
  registered_memory(registered_memory&& other) noexcept;
  registered_memory& operator=(registered_memory&& other) noexcept;
  ~registered_memory(); ///< after this the device writes there no more

  [[nodiscard]] std::span<std::byte> memory() const noexcept { return memory_; }
  [[nodiscard]] std::uint32_t lkey() const noexcept;
  [[nodiscard]] std::uint32_t rkey() const noexcept;

private:
  registered_memory(std::shared_ptr<device> device, std::span<std::byte> memory, ibv_mr* region)
      : device_(std::move(device)), memory_(memory), region_(region) {}
  std::shared_ptr<device> device_;
  std::span<std::byte> memory_;
  ibv_mr* region_;
};

} // namespace quadrant::transport::rdma
