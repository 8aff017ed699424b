#include "schema/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

extern char** environ;

namespace towline {
namespace {

constexpr size_t kErrorBytesMax = 64 << 10;

class Pipe {
 public:
  ~Pipe() {
    CloseEnd(0);
    CloseEnd(1);
  }
  // Neither end is inherited by another child that some thread starts meanwhile.
  bool Open() { return pipe2(ends_, O_CLOEXEC) == 0; }
  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void CloseEnd(int which) {
    if (ends_[which] >= 0) close(ends_[which]);
    ends_[which] = -1;
  }

 private:
  int ends_[2] = {-1, -1};
};

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> MergedEnvironment(const ChildProcess& child) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool is_replaced = false;
    for (const auto& [name, value] : child.environment) {
      is_replaced = is_replaced || absl::StartsWith(*entry, absl::StrCat(name, "="));
    }
    if (!is_replaced) merged.emplace_back(*entry);
  }
  for (const auto& [name, value] : child.environment) {
    merged.push_back(absl::StrCat(name, "=", value));
  }
  return merged;
}

absl::StatusOr<pid_t> Spawn(const ChildProcess& child, int output, int errors) {
  std::vector<std::string> arguments = child.arguments;
  std::vector<std::string> environment = MergedEnvironment(child);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  // A Ctrl-C on the terminal goes to the whole foreground group; the child is ended by us, once.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  pid_t pid = 0;
  int failure = posix_spawn(&pid, arguments[0].c_str(), &actions, &attributes,
                            Pointers(arguments).data(), Pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failure == 0) return pid;
  std::string text = absl::StrCat("cannot run ", arguments[0], ": ", strerror(failure));
  return failure == E2BIG ? absl::ResourceExhaustedError(text) : absl::NotFoundError(text);
}

// Ends the child however this function is left, so that none survives us unnoticed.
class Reaper {
 public:
  explicit Reaper(pid_t pid) : pid_(pid) {}
  ~Reaper() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    Wait();
  }
  int Wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_;
};

// False at the end of the pipe.
bool ReadSome(int fd, std::string* text) {
  char buffer[64 << 10];
  ssize_t count = read(fd, buffer, sizeof buffer);
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  text->append(buffer, static_cast<size_t>(count));
  return count > 0;
}

// Drops the whole lines behind `kept` that are no errors; returns up to where lines were looked at.
size_t KeepErrors(const ChildProcess& child, size_t kept, bool is_end, std::string* errors) {
  if (child.is_error == nullptr) return 0;
  std::string rest = errors->substr(kept);
  errors->resize(kept);
  absl::string_view lines = rest;
  while (!lines.empty()) {
    size_t end = lines.find('\n');
    if (end == absl::string_view::npos && !is_end) break;
    absl::string_view line = lines.substr(0, end == absl::string_view::npos ? end : end + 1);
    if (child.is_error(line)) absl::StrAppend(errors, line);
    lines.remove_prefix(line.size());
  }
  kept = errors->size();
  absl::StrAppend(errors, lines);
  return kept;
}

absl::Status Collect(const ChildProcess& child, const Shutdown& shutdown, Pipe& output,
                     Pipe& errors, ChildResult* result) {
  size_t kept = 0;  // of the errors: lines that were looked at and kept
  while (output.read_end() >= 0 || errors.read_end() >= 0) {
    pollfd waiting[3] = {
        {output.read_end(), POLLIN, 0}, {errors.read_end(), POLLIN, 0}, {shutdown.fd(), POLLIN, 0}};
    if (poll(waiting, 3, -1) < 0 && errno != EINTR) return absl::InternalError("poll failed");
    if (shutdown.is_requested()) return absl::CancelledError("shutting down");
    if (waiting[0].revents != 0 && !ReadSome(output.read_end(), &result->output)) {
      output.CloseEnd(0);
    }
    if (waiting[1].revents != 0) {
      if (!ReadSome(errors.read_end(), &result->errors)) errors.CloseEnd(0);
      kept = KeepErrors(child, kept, errors.read_end() < 0, &result->errors);
    }
    if (result->errors.size() > kErrorBytesMax) {
      size_t dropped = result->errors.size() - kErrorBytesMax;
      result->errors.erase(0, dropped);
      kept -= std::min(kept, dropped);
    }
    if (result->output.size() > child.output_bytes_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat(child.arguments[0], " wrote more than ", child.output_bytes_max, " bytes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ChildResult> RunChildProcess(const ChildProcess& child, const Shutdown& shutdown) {
  Pipe output;
  Pipe errors;
  if (!output.Open() || !errors.Open()) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot make a pipe: ", strerror(errno)));
  }
  TOWLINE_ASSIGN_OR_RETURN(pid_t pid, Spawn(child, output.write_end(), errors.write_end()));
  Reaper reaper(pid);
  output.CloseEnd(1);
  errors.CloseEnd(1);
  ChildResult result;
  TOWLINE_RETURN_IF_ERROR(Collect(child, shutdown, output, errors, &result));
  result.exit_status = reaper.Wait();
  return result;
}

}  // namespace towline
