#include "observe/http_server.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/format.h"
#include "base/steady_clock.h"
#include "httplib.h"

namespace towline {
namespace {

class HttplibServer : public HttpServer {
 public:
  HttplibServer(const StatusBoard& board, const Metrics& metrics) {
    // A scrape and a health check at once are all we expect; the default is one thread per core.
    server_.new_task_queue = [] { return new httplib::ThreadPool(2); };
    server_.set_keep_alive_timeout(1);  // so that an idle client does not delay our stop for long
    server_.set_read_timeout(5, 0);
    server_.set_payload_max_length(64 << 10);
    server_.Get("/metrics", [&metrics](const httplib::Request&, httplib::Response& response) {
      response.set_content(metrics.Render(), "text/plain; version=0.0.4; charset=utf-8");
    });
    server_.Get("/healthz", [&board](const httplib::Request&, httplib::Response& response) {
      std::string reason = UnhealthyReason(board.Get());
      response.status = reason.empty() ? 200 : 503;
      response.set_content(reason.empty() ? "ok\n" : reason + "\n", "text/plain; charset=utf-8");
    });
    server_.Get("/status", [&board](const httplib::Request&, httplib::Response& response) {
      response.set_content(TaskStatusToJson(board.Get()) + "\n", "application/json");
    });
  }

  ~HttplibServer() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen(int port) {
    // httplib's default sets SO_REUSEPORT, with which a second process would share the port
    // silently.
    server_.set_socket_options([](socket_t socket) {
      int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    });
    port_ = port == 0 ? server_.bind_to_any_port("127.0.0.1")
                      : (server_.bind_to_port("127.0.0.1", port) ? port : -1);
    if (port_ < 0) {
      return WithHint(absl::FailedPreconditionError(
                          absl::StrCat("cannot listen on 127.0.0.1:", port, " for metrics")),
                      "Another process uses the port: choose another with --metrics-port.");
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    // stop() does nothing to a server that is not running yet, so we wait until it is.
    absl::Time deadline = SteadyNow() + absl::Seconds(5);
    while (!server_.is_running() && SteadyNow() < deadline) std::this_thread::yield();
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  httplib::Server server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace

std::string UnhealthyReason(const TaskStatus& status) {
  for (const char* good : {"new", "checking", "copying_schema", "copying", "indexing",
                           "catching_up", "constraints", "streaming", "cut_over"}) {
    if (status.state == good) return "";
  }
  std::string reason = status.state;
  if (!status.waiting_for.empty()) absl::StrAppend(&reason, ": ", status.waiting_for);
  if (status.state == "retrying") {
    absl::StrAppend(&reason, " (next try in ", towline::FormatDuration(status.retry_in), ")");
  }
  return reason;
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(int port, const StatusBoard& board,
                                                              const Metrics& metrics) {
  auto server = std::make_unique<HttplibServer>(board, metrics);
  absl::Status listening = server->Listen(port);
  if (!listening.ok()) return listening;
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace towline
