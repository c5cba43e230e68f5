// transport/rdma/queue_stream.hpp: a connection over RDMA. Few bytes go through a ring, many go straight to their place:
//
//   few   copied to the own staging ─▶ RDMA write with immediate ─▶ ring of the other side ─▶ copied to the reader
//   many  announced ─▶ the reader grants the places that it reads into ─▶ RDMA write from where they are, with immediate
//
//   immediate value   kind:3 | value:29
//     data      bytes                     so many more lie in the ring
//     given     messages:7 | bytes:22     so many were taken out
//     announced bytes                     so many come next, not through the ring
//     granted   places                    for the first of these; 0: through the ring, please
//     placed    bytes                     they lie there
//
// Straight to their place go bytes that lie in registered memory on both sides (memory_map); the others, and those that the
// reader wants elsewhere, go through the ring. A place is granted for one read, and taken back only by the end of the
// connection, so a late write never hits memory that serves others: whoever cancels a read with a grant out ends the
// connection. At most `most_messages` of data are under way each way, and one of each other kind, so a receive is always
// posted for the next. The TCP connection below it tells of the other side's end.
// Threads everything on the endpoint's I/O thread
#pragma once
#include <memory>

#include <boost/asio/any_io_executor.hpp>

#include "transport/rdma/device.hpp"
#include "transport/rdma/memory_map.hpp"
#include "transport/stream/poll_set.hpp"
#include "transport/stream/upgrade.hpp"

namespace quadrant::transport::rdma {

/// Null where the device gives no queue pair, or memory cannot be locked.
std::unique_ptr<stream::upgrade> make_queue_upgrade(const std::shared_ptr<device>& device,
                                                    std::shared_ptr<memory_map> known, stream::poll_set& set,
                                                    boost::asio::any_io_executor executor);

} // namespace quadrant::transport::rdma
