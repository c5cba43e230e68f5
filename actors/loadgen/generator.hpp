// actors/loadgen/generator.hpp: a run: sends each planned request at its time, whatever became of those before it.
//
//   plan ─▶ release (a timer) ─┬─▶ one coroutine a request: client ─▶ answer_meter ─▶ its record
//                              └─▶ line, while max_concurrency are under way
// Threads one, for as many streams as there are: the caller's, which runs the io_context until the run has ended
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "actors/loadgen/client.hpp"
#include "actors/loadgen/question_form.hpp"
#include "actors/loadgen/request_record.hpp"
#include "actors/loadgen/workload.hpp"

namespace quadrant::actors::loadgen {

struct tally {
  std::size_t total = 0, ended = 0, failed = 0, in_flight = 0, waiting = 0;
  std::int64_t pieces = 0; ///< of text, of answers that have ended
};

struct run_options {
  const workload& plan;
  question_form form;
  std::function<std::string(std::size_t index)> prompt; ///< the text of a planned request
  std::size_t max_concurrency = 0;                      ///< under way at a time; 0: any number
  std::int64_t timeout_ns = 0;                          ///< of a request
  std::function<bool()> stop;                           ///< asked many times a second; yes ends the run early
  std::function<void(const tally&)> progress;           ///< told as often
};

struct run_record {
  std::vector<request_record> requests; ///< as planned
  std::int64_t duration_ns = 0;         ///< from the start to the last end
  std::int64_t max_lag_ns = 0; ///< how late a request was released at most: what the generator could not do in time
  std::size_t max_in_flight = 0;
  bool interrupted = false;
};

class generator {
public:
  generator(boost::asio::io_context& io, client& to, run_options options);
  run_record run();

private:
  boost::asio::awaitable<void> release();
  boost::asio::awaitable<void> watch();
  boost::asio::awaitable<void> one(std::size_t index, std::string body);
  void begin(std::size_t index, std::string body);
  void interrupt();
  void look_at_end();
  [[nodiscard]] std::string body_of(std::size_t index) const;
  [[nodiscard]] std::int64_t now() const; ///< since the start

  boost::asio::io_context& io_;
  client& client_;
  run_options options_;
  run_record record_;
  tally tally_;
  std::deque<std::size_t> waiting_; ///< released, while too many are under way
  boost::asio::steady_timer release_timer_, watch_timer_;
  std::int64_t start_ns_ = 0;
  bool released_ = false, ended_ = false;
};

/// Lets this process have as many files open as the system allows it: a socket each for those under way.
void allow_many_sockets();

} // namespace quadrant::actors::loadgen
