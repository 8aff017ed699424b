#include "observe/control_socket.h"

#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/shutdown.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "nlohmann/json.hpp"

namespace towline {
namespace {

constexpr char kSuffix[] = ".sock";
constexpr size_t kRequestBytesMax = 4096;
constexpr size_t kAnswerBytesMax = 1 << 20;
// Clients are served one after the other; one that says nothing gives way after this.
constexpr absl::Duration kClientIdleMax = absl::Seconds(1);

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct DirectoryCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

std::string FallbackDirectory() { return absl::StrCat("/tmp/towline-", geteuid()); }

// Where a socket may lie: a service started by systemd and a shell need not agree about
// XDG_RUNTIME_DIR, so whoever looks for one looks in both places.
std::vector<std::string> Directories() {
  std::vector<std::string> directories = {ControlSocketDirectory()};
  if (directories[0] != FallbackDirectory()) directories.push_back(FallbackDirectory());
  return directories;
}

std::string PathIn(absl::string_view directory, absl::string_view task) {
  return absl::StrCat(directory, "/", task, kSuffix);
}

// In /tmp anybody may have made a directory of our name: it must be ours and closed to others.
absl::Status PrepareDirectory(const std::string& directory) {
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot create directory ", directory, ": ", strerror(errno)));
  }
  struct stat info;
  if (lstat(directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
      (info.st_mode & 077) != 0) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "directory ", directory, " for the control socket is not ours alone (mode 0700)")),
        "Remove it, or set XDG_RUNTIME_DIR to a directory of your own.");
  }
  return absl::OkStatus();
}

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat("path of the control socket is longer than ",
                                                sizeof address.sun_path - 1, " bytes: ", path)),
        "Choose a shorter --task, or set XDG_RUNTIME_DIR to a shorter directory.");
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

absl::StatusOr<FileDescriptor> ConnectTo(const std::string& path) {
  TOWLINE_ASSIGN_OR_RETURN(sockaddr_un address, AddressOf(path));
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return absl::ResourceExhaustedError("cannot create a socket");
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return absl::NotFoundError(absl::StrCat("nobody listens at ", path));
  }
  return fd;
}

// Of the process at the other end; it need not answer, so a stopped one is named as well. 0:
// unknown.
pid_t PeerPid(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

// Waits until `fd` can be read; false at the deadline or when `stop` is asked for.
bool WaitReadable(int fd, absl::Time deadline, const Shutdown* stop) {
  pollfd waiting[2] = {{fd, POLLIN, 0}, {stop != nullptr ? stop->fd() : -1, POLLIN, 0}};
  while (true) {
    int64_t left_ms = 60'000;
    if (deadline != absl::InfiniteFuture()) {
      left_ms =
          absl::ToInt64Milliseconds(absl::Ceil(deadline - SteadyNow(), absl::Milliseconds(1)));
      if (left_ms <= 0) return false;
    }
    int ready = poll(waiting, 2, static_cast<int>(std::min<int64_t>(left_ms, 60'000)));
    if (stop != nullptr && stop->is_requested()) return false;
    if (ready > 0 && waiting[0].revents != 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

// A line without its newline; nothing at end of file, deadline, stop or when it is too long. What
// follows the line stays in `buffer`.
std::optional<std::string> ReadLine(int fd, std::string& buffer, size_t bytes_max,
                                    absl::Time deadline, const Shutdown* stop) {
  while (true) {
    size_t newline = buffer.find('\n');
    if (newline != std::string::npos) {
      std::string line = buffer.substr(0, newline);
      buffer.erase(0, newline + 1);
      return line;
    }
    if (buffer.size() > bytes_max || !WaitReadable(fd, deadline, stop)) return std::nullopt;
    char bytes[4096];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) return std::nullopt;
    buffer.append(bytes, static_cast<size_t>(got));
  }
}

bool SendAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string AnswerOf(const absl::Status& status) {
  nlohmann::ordered_json json = {{"ok", status.ok()}};
  if (!status.ok()) json["error"] = Describe(status);
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class UnixControlSocket : public ControlSocket {
 public:
  UnixControlSocket(std::string path, FileDescriptor listener, Callbacks callbacks)
      : path_(std::move(path)),
        listener_(std::move(listener)),
        callbacks_(std::move(callbacks)),
        thread_([this] { Loop(); }) {}

  ~UnixControlSocket() override {
    stop_.Request();
    thread_.join();
    unlink(path_.c_str());
  }

  const std::string& path() const override { return path_; }

 private:
  void Loop() {
    while (WaitReadable(listener_.get(), absl::InfiniteFuture(), &stop_)) {
      FileDescriptor client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (client.get() >= 0) Serve(client.get());
    }
  }

  void Serve(int client) {
    // A client that does not read its answer must not hold us up either.
    timeval limit = {5, 0};
    setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    std::string buffer;
    while (true) {
      std::optional<std::string> line =
          ReadLine(client, buffer, kRequestBytesMax, SteadyNow() + kClientIdleMax, &stop_);
      if (!line.has_value() || !SendAll(client, absl::StrCat(Answer(*line), "\n"))) return;
    }
  }

  std::string Answer(const std::string& request) {
    nlohmann::json json = nlohmann::json::parse(request, nullptr, false);
    auto text = [&json](const char* key) {
      return json.is_object() && json.contains(key) && json[key].is_string()
                 ? json[key].get<std::string>()
                 : std::string();
    };
    const std::string command = text("command");
    if (command == "status") return TaskStatusToJson(callbacks_.status());
    if (command == "pause") return AnswerOf(callbacks_.pause());
    if (command == "resume") return AnswerOf(callbacks_.resume());
    if (command == "set") return AnswerOf(callbacks_.set(text("name"), text("value")));
    return AnswerOf(absl::InvalidArgumentError(
        R"(expected {"command":"status"}, {"command":"pause"}, {"command":"resume"} or )"
        R"({"command":"set","name":...,"value":...})"));
  }

  const std::string path_;
  const FileDescriptor listener_;
  const Callbacks callbacks_;
  Shutdown stop_;
  std::thread thread_;
};

}  // namespace

std::string ControlSocketDirectory() {
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/' && access(runtime, W_OK | X_OK) == 0) {
    return absl::StrCat(runtime, "/towline");
  }
  return FallbackDirectory();
}

std::string ControlSocketPath(absl::string_view task) {
  return PathIn(ControlSocketDirectory(), task);
}

std::vector<std::string> ListControlSockets() {
  std::vector<std::string> tasks;
  for (const std::string& directory : Directories()) {
    std::unique_ptr<DIR, DirectoryCloser> entries(opendir(directory.c_str()));
    if (entries == nullptr) continue;
    while (const dirent* entry = readdir(entries.get())) {
      absl::string_view name = entry->d_name;
      if (!absl::ConsumeSuffix(&name, kSuffix)) continue;
      if (ConnectTo(PathIn(directory, name)).ok()) tasks.emplace_back(name);
    }
  }
  std::sort(tasks.begin(), tasks.end());
  tasks.erase(std::unique(tasks.begin(), tasks.end()), tasks.end());
  return tasks;
}

absl::StatusOr<std::string> AskControlSocket(absl::string_view task, const ControlRequest& wish,
                                             absl::Duration timeout) {
  absl::StatusOr<FileDescriptor> fd = absl::NotFoundError("");
  for (const std::string& directory : Directories()) {
    if (!fd.ok()) fd = ConnectTo(PathIn(directory, task));
  }
  if (!fd.ok()) {
    return absl::NotFoundError(absl::StrCat("task \"", task, "\" does not run here (no socket ",
                                            ControlSocketPath(task), ")"));
  }
  nlohmann::json request = {{"command", wish.command}};
  if (!wish.name.empty()) request.update({{"name", wish.name}, {"value", wish.value}});
  std::string buffer;
  if (SendAll(fd->get(),
              request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n")) {
    std::optional<std::string> line =
        ReadLine(fd->get(), buffer, kAnswerBytesMax, SteadyNow() + timeout, nullptr);
    if (line.has_value()) return *std::move(line);
  }
  return absl::DeadlineExceededError(
      absl::StrCat("task \"", task, "\" does not answer on its socket"));
}

absl::StatusOr<std::unique_ptr<ControlSocket>> ControlSocket::Listen(absl::string_view task,
                                                                     Callbacks callbacks) {
  TOWLINE_RETURN_IF_ERROR(PrepareDirectory(ControlSocketDirectory()));
  std::string path = ControlSocketPath(task);
  TOWLINE_ASSIGN_OR_RETURN(sockaddr_un address, AddressOf(path));
  if (absl::StatusOr<FileDescriptor> other = ConnectTo(path); other.ok()) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "task \"", task, "\" runs already on this machine: pid ", PeerPid(other->get()))),
        absl::StrCat("See `towline status ", task, "`."));
  }
  // Nobody answers: a predecessor was killed.
  unlink(path.c_str());
  FileDescriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // The directory (0700) keeps others out from the start; the mode of the file says the same.
  if (listener.get() < 0 ||
      bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      chmod(path.c_str(), 0600) != 0 || listen(listener.get(), 8) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen on ", path, ": ", strerror(errno)));
  }
  return std::unique_ptr<ControlSocket>(
      new UnixControlSocket(path, std::move(listener), std::move(callbacks)));
}

}  // namespace towline
