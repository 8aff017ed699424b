// Reads the slot: a thread that takes messages off the replication connection into a bounded queue,
// answers keepalives and reports the durable position by its own clock, also while a full queue
// keeps it from reading (hazards B8: otherwise wal_sender_timeout ends the connection of a slow
// destination). Nothing flows back through it but the durable LSN.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/bounded_queue.h"
#include "base/lsn.h"
#include "base/shutdown.h"
#include "base/stage_clock.h"
#include "model/received.h"
#include "pg/replication_connection.h"

namespace towline {

class Receiver {
 public:
  struct Options {
    ConnectOptions source;
    std::string application_name;
    std::string slot;
    Lsn position;  // where to start: the task's position
    // Of the log that the position speaks of; timeline 0: not asked for. A URI may lead elsewhere
    // from one connection to the next, and after a failover to a server that has the slot as well.
    uint64_t system_identifier = 0;
    uint32_t timeline = 0;
    absl::Duration status_interval;
    std::vector<std::pair<std::string, std::string>> plugin_options;
    StageClock* clock = nullptr;  // borrowed; may be null
  };
  struct Progress {                         // read from any thread
    std::atomic<uint64_t> received_lsn{0};  // end of the last message's WAL
    std::atomic<uint64_t> wal_end{0};       // last keepalive
    std::atomic<int64_t> received_bytes{0};
  };

  // Opens the replication connection and starts the stream; errors of START_REPLICATION come back
  // here. The thread starts with Run().
  static absl::StatusOr<std::unique_ptr<Receiver>> Open(const Options& options,
                                                        const Shutdown& shutdown);
  // Joins the thread.
  ~Receiver();

  void Run(BoundedQueue<Received>* queue);
  // The position that status updates confirm; monotonic. Any thread.
  void SetDurable(Lsn durable_lsn);
  // Why the thread ended; OK while it runs. Closes the queue at its end.
  absl::Status status() const;
  const Progress& progress() const;
  int backend_pid() const;  // of the walsender
  // Sends a last status with the durable position and ends the stream; then joins.
  void Stop();

 private:
  class Impl;
  explicit Receiver(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace towline
