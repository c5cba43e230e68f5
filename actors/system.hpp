// actors/system.hpp: the one place that configures CAF.
#pragma once
#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include "actors/interfaces.hpp"

namespace quadrant::actors {

/// Settings measured for small messages among few actors: the sharing policy (the stealing one sleeps up to 10 ms when
/// idle), no extra I/O workers, a bound on how long one actor may keep a thread, and heartbeats, without which a
/// stopped process is never noticed.
class system_config : public caf::actor_system_config {
public:
  /// One for all processes: who takes the other for dead is agreed on before anyone has read a topology.
  static constexpr auto heartbeat = std::chrono::seconds(1), patience = heartbeat * 10;

  system_config() {
    load<caf::io::middleman>();
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-throughput", std::size_t{50});
    set("scheduler.max-threads", std::size_t{2});
    set("middleman.workers", std::size_t{0});
    set("middleman.heartbeat-interval", caf::timespan(heartbeat));
    set("middleman.connection-timeout", caf::timespan(patience));
    add_messages<msg::request_spec, msg::admit, msg::route, msg::forget, msg::reserve, msg::lease, msg::prefill,
                 msg::first_token, msg::logit_rows, msg::hand_over_failed, msg::token, msg::micro_batch,
                 msg::micro_batch_done, msg::decode_step, msg::decode_step_done, msg::arrival, msg::kv_sent, msg::halt,
                 msg::halted, msg::join, msg::assign, msg::assigned, msg::view, msg::worker_down, msg::status_query,
                 msg::status_report>();
    add_message_type<handles>("quadrant::handles");
  }

private:
  template <class... Messages>
  void add_messages() {
    (add_message_type<Messages>(schema_name<Messages>()), ...);
  }
  template <class Message>
  static std::string schema_name() {
    return "quadrant::" + std::to_string(capnp::typeId<typename Message::schema_type>());
  }
};

} // namespace quadrant::actors
