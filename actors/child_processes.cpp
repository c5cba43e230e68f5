#include "actors/child_processes.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace quadrant::actors {

result<void> child_processes::start(const std::string& name, const std::filesystem::path& executable,
                                    const std::vector<std::string>& arguments) {
  std::vector<std::string> words{executable.string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto pid = fork();
  if (pid < 0) return {errc::unavailable, std::string("cannot start process ") + name + ": " + std::strerror(errno)};
  if (pid == 0) {  // only async-signal-safe calls from here on
    setpgid(0, 0); // a Ctrl-C at the terminal is the parent's to handle
    execv(argv[0], argv.data());
    _exit(127);
  }
  children_.push_back({name, pid});
  return {};
}

std::optional<std::string> child_processes::ended() {
  for (auto it = children_.begin(); it != children_.end(); ++it) {
    int status = 0;
    if (waitpid(it->pid, &status, WNOHANG) != it->pid) continue;
    auto name = it->name;
    children_.erase(it);
    return name;
  }
  return std::nullopt;
}

void child_processes::end() {
  for (const auto& c : children_) kill(c.pid, SIGTERM);
  for (int i = 0; i < 300 && !children_.empty(); ++i) {
    while (ended()) {
    }
    if (!children_.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  for (const auto& c : children_) kill(c.pid, SIGKILL);
  for (const auto& c : children_) waitpid(c.pid, nullptr, 0);
  children_.clear();
}

} // namespace quadrant::actors
