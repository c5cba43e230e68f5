// actors/child_processes.hpp: the node processes that an engine starts, ends and watches.
// Threads one owner
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "config/result.hpp"

namespace quadrant::actors {

class child_processes {
public:
  child_processes() = default;
  ~child_processes() { end(); }
  child_processes(const child_processes&) = delete;
  child_processes& operator=(const child_processes&) = delete;

  /// Starts `executable arguments…`. A node leaves by itself when this process dies: its supervisor is gone then.
  result<void> start(const std::string& name, const std::filesystem::path& executable,
                     const std::vector<std::string>& arguments);
  /// The name of a child that has ended since, if any.
  std::optional<std::string> ended();
  /// SIGTERM, a while to leave, SIGKILL.
  void end();

private:
  struct child {
    std::string name;
    pid_t pid;
  };
  std::vector<child> children_;
};

} // namespace quadrant::actors
