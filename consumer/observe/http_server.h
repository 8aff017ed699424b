// /metrics (Prometheus), /healthz (200 while the task does its work, else 503 with the reason) and
// /status (the JSON of `status --json`) on 127.0.0.1. Read-only: changes go over the Unix socket.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "observe/metrics.h"
#include "observe/task_status.h"

namespace towline {

// Empty when healthy, else why not.
std::string UnhealthyReason(const TaskStatus& status);

class HttpServer {
 public:
  // Serves on a thread of its own until destroyed; borrows board and metrics. Port 0 takes any free
  // one. A port in use is kFailedPrecondition with a hint.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(int port, const StatusBoard& board,
                                                           const Metrics& metrics);
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

}  // namespace towline
