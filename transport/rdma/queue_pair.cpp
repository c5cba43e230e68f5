#include "transport/rdma/queue_pair.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <arpa/inet.h>
#include <fcntl.h>
#include <infiniband/verbs.h>

#include "config/check.hpp"
#include "config/random.hpp"

namespace quadrant::transport::rdma {
namespace {

constexpr std::uint8_t port = 1;
constexpr std::uint32_t most_24_bits = 0xffffff;
constexpr std::uint64_t receive_mark = std::uint64_t{1} << 63; // in a work request's id

failure cannot(const device& d, const char* what) {
  return {errc::unavailable,
          "RDMA device " + d.name() + " gives no " + what + ": " + std::generic_category().message(errno)};
}

result<void> outcome_of(ibv_wc_status status) {
  switch (status) {
  case IBV_WC_SUCCESS: return {};
  case IBV_WC_REM_ACCESS_ERR:
  case IBV_WC_REM_INV_REQ_ERR:
    return {errc::invalid_argument, std::string("the peer's memory may not be written: ") + ibv_wc_status_str(status)};
  case IBV_WC_LOC_PROT_ERR:
  case IBV_WC_LOC_LEN_ERR:
  case IBV_WC_LOC_QP_OP_ERR: // what soft-RoCE calls a wrong lkey
    return {errc::invalid_argument, std::string("memory here that is not registered: ") + ibv_wc_status_str(status)};
  case IBV_WC_WR_FLUSH_ERR: return {errc::peer_lost, "the RDMA connection broke before"};
  default: return {errc::peer_lost, std::string("the RDMA connection broke: ") + ibv_wc_status_str(status)};
  }
}

} // namespace

std::array<std::byte, queue_pair_address_bytes> encode(const queue_pair_address& a) {
  std::array<std::byte, queue_pair_address_bytes> bytes{};
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[i] = std::byte(a.number >> (8 * i));
    bytes[4 + i] = std::byte(a.first_packet >> (8 * i));
  }
  bytes[8] = std::byte(a.lid);
  bytes[9] = std::byte(a.lid >> 8);
  std::ranges::copy(a.port, bytes.begin() + 10);
  return bytes;
}

result<queue_pair_address> decode_queue_pair_address(std::span<const std::byte, queue_pair_address_bytes> bytes) {
  queue_pair_address a;
  for (std::size_t i = 0; i < 4; ++i) {
    a.number |= std::uint32_t(bytes[i]) << (8 * i);
    a.first_packet |= std::uint32_t(bytes[4 + i]) << (8 * i);
  }
  if (a.number > most_24_bits || a.first_packet > most_24_bits)
    return {errc::corrupt, "no address of an RDMA queue pair"};
  a.lid = std::uint16_t(std::uint16_t(bytes[8]) | std::uint16_t(bytes[9]) << 8);
  std::ranges::copy(bytes.subspan<10>(), a.port.begin());
  return a;
}

result<std::unique_ptr<queue_pair>> queue_pair::make(std::shared_ptr<device> device, const limits& most) {
  std::unique_ptr<queue_pair> q(new queue_pair);
  q->device_ = std::move(device);
  q->most_ = most;
  const auto& d = *q->device_;
  q->channel_ = ibv_create_comp_channel(d.context_);
  if (q->channel_ == nullptr) return cannot(d, "completion channel");
  if (const int flags = fcntl(q->channel_->fd, F_GETFL); fcntl(q->channel_->fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return cannot(d, "completion channel that does not block");
  q->done_ = ibv_create_cq(d.context_, int(most.writes + most.receives), nullptr, q->channel_, 0);
  if (q->done_ == nullptr) return cannot(d, "completion queue");
  ibv_qp_init_attr wanted{};
  wanted.send_cq = wanted.recv_cq = q->done_;
  wanted.qp_type = IBV_QPT_RC;
  wanted.sq_sig_all = 1;
  wanted.cap = {.max_send_wr = most.writes,
                .max_recv_wr = most.receives,
                .max_send_sge = most.pieces,
                .max_recv_sge = 1,
                .max_inline_data = 0};
  q->pair_ = ibv_create_qp(d.domain_, &wanted);
  if (q->pair_ == nullptr) return cannot(d, "queue pair");
  q->self_ = {.number = q->pair_->qp_num,
              .first_packet = std::uint32_t(random_u64()) & most_24_bits,
              .lid = d.lid_,
              .port = d.gid_};
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = port;
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  if (errno =
          ibv_modify_qp(q->pair_, &attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
      errno != 0)
    return cannot(d, "initialised queue pair");
  return q;
}

queue_pair::~queue_pair() {
  if (pair_ != nullptr) ibv_destroy_qp(pair_);
  if (done_ != nullptr) ibv_destroy_cq(done_);
  if (channel_ != nullptr) ibv_destroy_comp_channel(channel_);
}

result<void> queue_pair::connect(const queue_pair_address& peer) {
  // The peer is given up after about a second without an answer: tries of 67 ms. Seven would mean for ever, to soft-RoCE
  // also where the standard does not say so.
  constexpr std::uint8_t timeout = 14, tries = 6, not_ready_timer = 12, not_ready_tries = 6;
  ibv_qp_attr receive{};
  receive.qp_state = IBV_QPS_RTR;
  receive.path_mtu = ibv_mtu(device_->mtu_);
  receive.dest_qp_num = peer.number;
  receive.rq_psn = peer.first_packet;
  receive.max_dest_rd_atomic = 1;
  receive.min_rnr_timer = not_ready_timer;
  receive.ah_attr.is_global = 1;
  receive.ah_attr.dlid = peer.lid;
  receive.ah_attr.port_num = port;
  receive.ah_attr.grh.hop_limit = 64;
  receive.ah_attr.grh.sgid_index = std::uint8_t(device_->gid_index_);
  std::memcpy(receive.ah_attr.grh.dgid.raw, peer.port.data(), peer.port.size());
  if (errno = ibv_modify_qp(pair_, &receive,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                                IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
      errno != 0)
    return {errc::invalid_argument, "the RDMA device " + device_->name() +
                                        " cannot reach that peer: " + std::generic_category().message(errno)};
  ibv_qp_attr send{};
  send.qp_state = IBV_QPS_RTS;
  send.timeout = timeout;
  send.retry_cnt = tries;
  send.rnr_retry = not_ready_tries;
  send.sq_psn = self_.first_packet;
  send.max_rd_atomic = 1;
  if (errno = ibv_modify_qp(pair_, &send,
                            IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                                IBV_QP_MAX_QP_RD_ATOMIC);
      errno != 0)
    return {errc::invalid_argument, "the RDMA device " + device_->name() +
                                        " cannot send to that peer: " + std::generic_category().message(errno)};
  return {};
}

bool queue_pair::post_write(std::uint64_t id, std::span<const local_piece> from, remote_place to,
                            std::optional<std::uint32_t> value) {
  QCHECK_LE(from.size(), most_.pieces);
  QCHECK(id < receive_mark);
  if (writes_ == most_.writes) return false;
  std::vector<ibv_sge> pieces;
  std::uint64_t bytes = 0;
  for (const auto& piece : from) bytes += piece.bytes.size();
  QCHECK_LE(bytes, most_write_bytes);
  for (const auto& piece : from)
    if (!piece.bytes.empty())
      pieces.push_back({.addr = reinterpret_cast<std::uint64_t>(piece.bytes.data()),
                        .length = std::uint32_t(piece.bytes.size()),
                        .lkey = piece.lkey});
  ibv_send_wr request{}, *bad = nullptr;
  request.wr_id = id;
  request.sg_list = pieces.data();
  request.num_sge = int(pieces.size());
  request.opcode = value ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE;
  request.imm_data = htonl(value.value_or(0));
  request.wr.rdma.remote_addr = to.address;
  request.wr.rdma.rkey = to.rkey;
  if (ibv_post_send(pair_, &request, &bad) != 0) return false;
  ++writes_;
  return true;
}

bool queue_pair::post_receive(std::uint64_t id) {
  QCHECK(id < receive_mark);
  if (receives_ == most_.receives) return false;
  ibv_recv_wr request{}, *bad = nullptr;
  request.wr_id = id | receive_mark; // a failed completion tells nothing but this
  if (ibv_post_recv(pair_, &request, &bad) != 0) return false;
  ++receives_;
  return true;
}

std::vector<completed> queue_pair::poll() {
  std::vector<completed> list;
  std::array<ibv_wc, 16> some;
  for (int n = 0; (n = ibv_poll_cq(done_, int(some.size()), some.data())) > 0;)
    for (const auto& c : std::span(some).first(std::size_t(n))) {
      const bool received = (c.wr_id & receive_mark) != 0;
      --(received ? receives_ : writes_);
      const bool ok = c.status == IBV_WC_SUCCESS;
      list.push_back({.id = c.wr_id & ~receive_mark,
                      .received = received,
                      .value = received && ok ? ntohl(c.imm_data) : 0,
                      .bytes = received && ok ? c.byte_len : 0,
                      .outcome = outcome_of(c.status)});
    }
  return list;
}

int queue_pair::fd() const noexcept { return channel_->fd; }

void queue_pair::arm() { ibv_req_notify_cq(done_, 0); }

void queue_pair::drain() {
  ibv_cq* which = nullptr;
  void* context = nullptr;
  while (ibv_get_cq_event(channel_, &which, &context) == 0) ibv_ack_cq_events(which, 1);
}

} // namespace quadrant::transport::rdma
