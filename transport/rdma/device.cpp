#include "transport/rdma/device.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include <infiniband/verbs.h>

namespace quadrant::transport::rdma {
namespace {

constexpr std::uint8_t port = 1;

std::string reason() { return std::generic_category().message(errno); }

/// The list of devices; libibverbs crashes on freeing none.
struct device_list {
  int count = 0;
  ibv_device** list = ibv_get_device_list(&count);
  device_list() = default;
  device_list(const device_list&) = delete;
  device_list& operator=(const device_list&) = delete;
  ~device_list() {
    if (list != nullptr) ibv_free_device_list(list);
  }
};

struct port_address {
  int index = 0;
  gid value{};
};

/// RoCE v2 over IPv4, else RoCE v2; the first one of InfiniBand.
std::optional<port_address> find_gid(ibv_context* context, const ibv_port_attr& attributes) {
  std::optional<port_address> best;
  for (int i = 0; i < attributes.gid_tbl_len; ++i) {
    ibv_gid_entry entry{};
    if (ibv_query_gid_ex(context, port, std::uint32_t(i), &entry, 0) != 0) continue;
    port_address found{.index = i};
    std::memcpy(found.value.data(), entry.gid.raw, found.value.size());
    if (attributes.link_layer == IBV_LINK_LAYER_INFINIBAND) return found;
    if (entry.gid_type != IBV_GID_TYPE_ROCE_V2) continue;
    constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (std::memcmp(entry.gid.raw, mapped.data(), mapped.size()) == 0) return found;
    if (!best) best = found;
  }
  return best;
}

} // namespace

result<std::shared_ptr<device>> device::open(std::string_view name) {
  const device_list all;
  std::string why = "this machine has no RDMA device";
  for (int i = 0; i < all.count; ++i) {
    const std::string here = ibv_get_device_name(all.list[i]);
    if (!name.empty() && here != name) {
      why = "this machine has no RDMA device " + std::string(name);
      continue;
    }
    std::shared_ptr<device> d(new device);
    d->name_ = here;
    d->context_ = ibv_open_device(all.list[i]);
    if (d->context_ == nullptr) {
      why = "RDMA device " + here + " cannot be opened: " + reason();
      continue;
    }
    ibv_port_attr attributes{};
    if (ibv_query_port(d->context_, port, &attributes) != 0 || attributes.state != IBV_PORT_ACTIVE) {
      why = "the port of RDMA device " + here + " is not active";
      continue;
    }
    const auto address = find_gid(d->context_, attributes);
    if (!address) {
      why = "RDMA device " + here + " has no address for RoCE v2: give its network interface an IP address";
      continue;
    }
    d->gid_ = address->value;
    d->gid_index_ = address->index;
    d->mtu_ = attributes.active_mtu;
    d->lid_ = attributes.lid;
    d->domain_ = ibv_alloc_pd(d->context_);
    if (d->domain_ == nullptr) {
      why = "RDMA device " + here + " gives no protection domain: " + reason();
      continue;
    }
    return d;
  }
  return {errc::unavailable, why};
}

device::~device() {
  if (domain_ != nullptr) ibv_dealloc_pd(domain_);
  if (context_ != nullptr) ibv_close_device(context_);
}

result<registered_memory> registered_memory::make(std::shared_ptr<device> device, std::span<std::byte> memory) {
  auto* region =
      ibv_reg_mr(device->domain_, memory.data(), memory.size(), IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (region == nullptr)
    return {errc::unavailable, std::to_string(memory.size()) + " bytes cannot be registered with RDMA device " +
                                   device->name() + ": " + reason() + " (is `ulimit -l` high enough?)"};
  return registered_memory(std::move(device), memory, region);
}

registered_memory::registered_memory(registered_memory&& other) noexcept
    : device_(std::move(other.device_)), memory_(std::exchange(other.memory_, {})),
      region_(std::exchange(other.region_, nullptr)) {}

registered_memory& registered_memory::operator=(registered_memory&& other) noexcept {
  registered_memory old(std::move(other)); // what was registered here goes now
  std::swap(device_, old.device_);
  std::swap(memory_, old.memory_);
  std::swap(region_, old.region_);
  return *this;
}

registered_memory::~registered_memory() {
  if (region_ != nullptr) ibv_dereg_mr(region_);
}

std::uint32_t registered_memory::lkey() const noexcept { return region_->lkey; }
std::uint32_t registered_memory::rkey() const noexcept { return region_->rkey; }

} // namespace quadrant::transport::rdma
