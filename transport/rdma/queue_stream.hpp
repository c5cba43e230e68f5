// transport/rdma/queue_stream.hpp: a connection over RDMA: each side has a ring that the other writes, with an immediate
// value that says how many bytes have come; another immediate gives room back.
//
//   write: copied to the own staging, at the same place ─▶ RDMA write with immediate ─▶ ring of the other side ─▶ read
//   immediate value   0 | bytes:31     so many more lie in the ring
//                     1 | messages:7 | bytes:24   so many were taken out
//
// At most `most_messages` immediates are under way each way, so a receive is always posted for the next. The TCP connection
// below it tells of the other side's end.
// Threads everything on the endpoint's I/O thread
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "transport/rdma/device.hpp"
#include "transport/rdma/queue_pair.hpp"
#include "transport/stream/poll_set.hpp"
#include "transport/stream/upgrade.hpp"

namespace quadrant::transport::rdma {

/// Null where the device gives no queue pair, or memory cannot be locked.
std::unique_ptr<stream::upgrade> make_queue_upgrade(const std::shared_ptr<device>& device, stream::poll_set& set,
                                                    boost::asio::any_io_executor executor);

} // namespace quadrant::transport::rdma
