// The task's Unix socket: whoever may open it (mode 0600 in a directory of mode 0700) may ask for
// the status, pause or resume the task and set a limit. One request a line,
// {"command":"status"|"pause"|"resume"} or {"command":"set","name":"...","value":"..."}; one line
// in answer: the status object for "status", else {"ok":true} or
// {"ok":false,"error":"..."}. A small server of its own rather than HTTP, so that `status` works
// without any port and file rights are all the protection it needs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "observe/task_status.h"

namespace towline {

// $XDG_RUNTIME_DIR/towline, or /tmp/towline-<uid>.
std::string ControlSocketDirectory();
std::string ControlSocketPath(absl::string_view task);
// Tasks of which a socket lies in the directory, sorted; a socket nobody answers is not listed.
std::vector<std::string> ListControlSockets();

// One request, one answer line (without the newline). kNotFound when nobody listens.
struct ControlRequest {
  std::string command;
  std::string name = "";   // set: of the limit
  std::string value = "";  // set: as the configuration writes it
};
absl::StatusOr<std::string> AskControlSocket(absl::string_view task, const ControlRequest& request,
                                             absl::Duration timeout = absl::Seconds(5));

class ControlSocket {
 public:
  // Called on the socket's thread, one at a time; they return at once.
  struct Callbacks {
    std::function<TaskStatus()> status;
    std::function<absl::Status()> pause;  // kFailedPrecondition where it makes no sense
    std::function<absl::Status()> resume;
    std::function<absl::Status(const std::string& name, const std::string& value)> set;
  };

  // Listens and serves on a thread of its own until destroyed. A socket file that nobody answers is
  // replaced; one that answers is kFailedPrecondition (another process runs the task).
  static absl::StatusOr<std::unique_ptr<ControlSocket>> Listen(absl::string_view task,
                                                               Callbacks callbacks);
  virtual ~ControlSocket() = default;
  virtual const std::string& path() const = 0;
};

}  // namespace towline
