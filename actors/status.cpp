#include "actors/status.hpp"

#include <nlohmann/json.hpp>

#include "actors/observed.hpp"

namespace quadrant::actors {
namespace {

std::vector<actor_status> actors_of(const caf::actor_system& system, const std::string& node) {
  std::vector<actor_status> list;
  for (const auto& a : actor_registry::instance().all(system))
    list.push_back({.id = a->id,
                    .role = a->role,
                    .node = node,
                    .state = a->state.load(),
                    .mailbox = a->mailbox(),
                    .messages = a->handled.load(),
                    .busy_ns = a->busy_ns.load(),
                    .max_ns = a->max_ns.load()});
  return list;
}

void write(wire::StatusReport::Builder& to, const std::vector<actor_status>& actors) {
  auto list = to.initActors(unsigned(actors.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    const auto& a = actors[i];
    list[i].setId(a.id);
    list[i].setRole(a.role);
    list[i].setNode(a.node);
    list[i].setState(a.state);
    list[i].setMailbox(a.mailbox);
    list[i].setMessages(a.messages);
    list[i].setBusyNs(a.busy_ns);
    list[i].setMaxNs(a.max_ns);
  }
}

} // namespace

void write_actors(wire::StatusReport::Builder& report, const caf::actor_system& system, const std::string& node) {
  write(report, actors_of(system, node));
}

void status_gathering::actors_here(const caf::actor_system& system, const std::string& node) {
  sum_.actors = actors_of(system, node);
}

void status_gathering::add(const std::string& from, const msg::status_report& report) {
  const auto view = report.view();
  auto part = read(*view);
  std::ranges::move(part.actors, std::back_inserter(sum_.actors));
  sum_.blocks_total += part.blocks_total;
  sum_.blocks_free += part.blocks_free;
  sum_.blocks_used += part.blocks_used;
  sum_.blocks_cached += part.blocks_cached;
  sum_.leases += part.leases;
  sum_.requests_live += part.requests_live;
  sum_.credits_out += part.credits_out;
  for (const auto& [name, value] : part.gauges) sum_.gauges.emplace_back(name + "{worker=\"" + from + "\"}", value);
}

msg::status_report status_gathering::report(bool serving, const std::string& note) const {
  return msg::status_report::make(
      [&](wire::StatusReport::Builder& b) {
        b.setServing(serving);
        b.setNote(note);
        write(b, sum_.actors);
        auto books = b.initBooks();
        books.setBlocksTotal(sum_.blocks_total);
        books.setBlocksFree(sum_.blocks_free);
        books.setBlocksUsed(sum_.blocks_used);
        books.setBlocksCached(sum_.blocks_cached);
        books.setLeases(sum_.leases);
        books.setRequestsLive(sum_.requests_live);
        books.setCreditsOut(sum_.credits_out);
        auto gauges = b.initGauges(unsigned(sum_.gauges.size()));
        for (unsigned i = 0; i < gauges.size(); ++i) {
          gauges[i].setName(sum_.gauges[i].first);
          gauges[i].setValue(sum_.gauges[i].second);
        }
      },
      0, 4096);
}

cluster_status read(wire::StatusReport::Reader report) {
  cluster_status s;
  s.serving = report.getServing();
  s.note = report.getNote().cStr();
  for (const auto a : report.getActors())
    s.actors.push_back({.id = a.getId(),
                        .role = a.getRole().cStr(),
                        .node = a.getNode().cStr(),
                        .state = a.getState().cStr(),
                        .mailbox = a.getMailbox(),
                        .messages = a.getMessages(),
                        .busy_ns = a.getBusyNs(),
                        .max_ns = a.getMaxNs()});
  const auto books = report.getBooks();
  s.blocks_total = books.getBlocksTotal();
  s.blocks_free = books.getBlocksFree();
  s.blocks_used = books.getBlocksUsed();
  s.blocks_cached = books.getBlocksCached();
  s.leases = books.getLeases();
  s.requests_live = books.getRequestsLive();
  s.credits_out = books.getCreditsOut();
  for (const auto g : report.getGauges()) s.gauges.emplace_back(g.getName().cStr(), g.getValue());
  return s;
}

std::string to_json(const cluster_status& status) {
  using nlohmann::ordered_json;
  auto actors = ordered_json::array();
  for (const auto& a : status.actors)
    actors.push_back({{"id", a.id},
                      {"role", a.role},
                      {"node", a.node},
                      {"state", a.state},
                      {"mailbox", a.mailbox},
                      {"messages", a.messages},
                      {"handling_ms", double(a.busy_ns) * 1e-6},
                      {"longest_ms", double(a.max_ns) * 1e-6}});
  auto gauges = ordered_json::object();
  for (const auto& [name, value] : status.gauges) gauges[name] = value;
  const ordered_json whole{{"serving", status.serving},
                           {"note", status.note},
                           {"books",
                            {{"blocks_total", status.blocks_total},
                             {"blocks_free", status.blocks_free},
                             {"blocks_used", status.blocks_used},
                             {"blocks_cached", status.blocks_cached},
                             {"leases", status.leases},
                             {"requests_live", status.requests_live},
                             {"credits_out", status.credits_out}}},
                           {"actors", actors},
                           {"gauges", gauges}};
  return whole.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

} // namespace quadrant::actors
