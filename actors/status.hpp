// actors/status.hpp: the state of a cluster as one report: gathered by the supervisor, read by the engine and by
// `quadrant status`.
// Threads one owner
#pragma once
#include <string>
#include <vector>

#include "actors/engine.hpp"
#include "actors/interfaces.hpp"

namespace quadrant::actors {

/// Collects the reports of nodes and workers. Books are summed; a worker's gauge becomes name{worker="..."}; actors
/// keep their node.
class status_gathering {
public:
  /// The actors of this actor system, under the name of its node.
  void actors_here(const caf::actor_system& system, const std::string& node);
  void add(const std::string& from, const msg::status_report& report);
  [[nodiscard]] msg::status_report report(bool serving, const std::string& note) const;

private:
  cluster_status sum_;
};

cluster_status read(wire::StatusReport::Reader report);

/// Every actor of an actor system, for the report of a node.
void write_actors(wire::StatusReport::Builder& report, const caf::actor_system& system, const std::string& node);

} // namespace quadrant::actors
