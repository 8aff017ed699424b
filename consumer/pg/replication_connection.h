// A session in replication mode (replication=database): only slots and streaming, so that ordinary
// SQL on it does not compile. One owner, one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/lsn.h"
#include "base/shutdown.h"
#include "model/frame.h"
#include "pg/connection.h"

namespace towline {

// What the server sends in COPY BOTH mode (protocol manual, "Streaming Replication Protocol").
struct StreamMessage {
  enum class Kind { kFrame, kKeepalive };
  Kind kind = Kind::kKeepalive;
  Frame frame;               // kFrame
  Lsn wal_end;               // kKeepalive: the server has sent all before it
  bool wants_reply = false;  // kKeepalive
};

struct SystemIdentity {
  uint64_t system_identifier = 0;
  uint32_t timeline = 0;  // that it writes, or follows while it is in recovery
};

class ReplicationConnection {
 public:
  static absl::StatusOr<ReplicationConnection> Open(const ConnectOptions& options,
                                                    const std::string& application_name,
                                                    const Shutdown& shutdown);

  // IDENTIFY_SYSTEM: who the server is, for roles that may not ask by SQL.
  absl::StatusOr<SystemIdentity> IdentifySystem();

  // START_REPLICATION SLOT ... LOGICAL ... with the plugin's options; values are quoted here.
  absl::Status Start(const std::string& slot, Lsn position,
                     const std::vector<std::pair<std::string, std::string>>& options);

  // ALTER_REPLICATION_SLOT (18 and later), for a slot that nobody uses: prepared transactions are
  // sent at their COMMIT PREPARED from then on.
  absl::Status SwitchTwoPhaseOff(const std::string& slot);
  // The same (17 and later): whether standbys may keep it synchronised.
  absl::Status SetFailover(const std::string& slot, bool is_failover);

  // The history file of a timeline above 1, as the server keeps it: one line for each timeline
  // before, with the place where it was left.
  absl::StatusOr<std::string> ReadTimelineHistory(uint32_t timeline);

  // The next message, or nothing when none came within `timeout`. kUnavailable when the server
  // ended the stream or the connection is lost.
  absl::StatusOr<std::optional<StreamMessage>> Receive(absl::Duration timeout);

  // Standby status update. All before `durable` may be forgotten by the source.
  absl::Status SendStatus(Lsn received, Lsn durable, bool wants_reply);

  // Ends the stream politely (CopyDone) as far as that goes without waiting.
  void End();

  int backend_pid() const { return connection_.backend_pid(); }

 private:
  explicit ReplicationConnection(Connection connection) : connection_(std::move(connection)) {}
  Connection connection_;
};

}  // namespace towline
