#include "pg/replication_connection.h"

#include <sys/time.h>

#include "absl/base/internal/endian.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// PostgreSQL counts microseconds from 2000-01-01, Unix from 1970-01-01 (datatype/timestamp.h:
// POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE is 10957 days).
constexpr int64_t kEpochDifferenceUs = int64_t{10957} * 86400 * 1000000;

// 'w', dataStart, walEnd, sendTime (protocol manual, XLogData).
constexpr size_t kDataHeaderBytes = 1 + 8 + 8 + 8;
// 'k', walEnd, sendTime, reply asked.
constexpr size_t kKeepaliveBytes = 1 + 8 + 8 + 1;

// Where in the log, in which table and row it happened. Our plugin writes no values there.
absl::Status WithContextField(const absl::Status& status, const PGresult* result) {
  const char* context = PQresultErrorField(result, PG_DIAG_CONTEXT);
  if (context == nullptr) return status;
  std::string where = absl::StrReplaceAll(context, {{"\n", "; "}});
  std::string detail = GetDetail(status);
  return WithDetail(status, detail.empty() ? where : absl::StrCat(detail, " ", where));
}

}  // namespace

absl::StatusOr<ReplicationConnection> ReplicationConnection::Open(
    const ConnectOptions& options, const std::string& application_name, const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = application_name;
  purpose.is_replication = true;
  TOWLINE_ASSIGN_OR_RETURN(Connection connection, Connection::Open(options, purpose, shutdown));
  return ReplicationConnection(std::move(connection));
}

absl::StatusOr<SystemIdentity> ReplicationConnection::IdentifySystem() {
  TOWLINE_ASSIGN_OR_RETURN(Result row, connection_.Exec("IDENTIFY_SYSTEM"));
  SystemIdentity identity;
  if (row.row_count() != 1 || !absl::SimpleAtoi(row.Get(0, 0), &identity.system_identifier) ||
      !absl::SimpleAtoi(row.Get(0, 1), &identity.timeline)) {
    return absl::InternalError("cannot read the answer to IDENTIFY_SYSTEM");
  }
  return identity;
}

absl::Status ReplicationConnection::Start(
    const std::string& slot, Lsn position,
    const std::vector<std::pair<std::string, std::string>>& options) {
  std::string sql = absl::StrCat("START_REPLICATION SLOT ", QuoteIdentifier(slot), " LOGICAL ",
                                 position.ToString());
  const char* separator = " (";
  for (const auto& [name, value] : options) {
    // The replication grammar knows '' only, no backslash form.
    std::string quoted;
    for (char c : value) quoted.append(c == '\'' ? 2 : 1, c);
    absl::StrAppend(&sql, separator, QuoteIdentifier(name), " '", quoted, "'");
    separator = ", ";
  }
  if (!options.empty()) sql.append(")");
  if (PQsendQuery(connection_.raw(), sql.c_str()) == 0) return connection_.ErrorOf(nullptr);
  absl::StatusOr<Result> result = connection_.LastResult(PGRES_COPY_BOTH);
  if (!result.ok()) {
    // An option that is refused today is refused again.
    std::string sqlstate = GetSqlState(result.status());
    bool is_refusal = absl::StartsWith(sqlstate, "22") || absl::StartsWith(sqlstate, "0A");
    return is_refusal ? WithCode(result.status(), absl::StatusCode::kFailedPrecondition)
                      : result.status();
  }
  if (PQresultStatus(result->raw()) != PGRES_COPY_BOTH) {
    return absl::InternalError("START_REPLICATION did not start streaming");
  }
  return absl::OkStatus();
}

absl::Status ReplicationConnection::SwitchTwoPhaseOff(const std::string& slot) {
  return connection_
      .Exec(absl::StrCat("ALTER_REPLICATION_SLOT ", QuoteIdentifier(slot), " (TWO_PHASE false)"))
      .status();
}

absl::Status ReplicationConnection::SetFailover(const std::string& slot, bool is_failover) {
  return connection_
      .Exec(absl::StrCat("ALTER_REPLICATION_SLOT ", QuoteIdentifier(slot), " (FAILOVER ",
                         is_failover ? "true" : "false", ")"))
      .status();
}

absl::StatusOr<std::string> ReplicationConnection::ReadTimelineHistory(uint32_t timeline) {
  TOWLINE_ASSIGN_OR_RETURN(Result file,
                           connection_.Exec(absl::StrCat("TIMELINE_HISTORY ", timeline)));
  if (file.row_count() != 1) {
    return absl::InternalError("TIMELINE_HISTORY was answered without a file");
  }
  return file.GetString(0, 1);
}

absl::StatusOr<std::optional<StreamMessage>> ReplicationConnection::Receive(
    absl::Duration timeout) {
  PGconn* raw = connection_.raw();
  absl::Time deadline = SteadyNow() + timeout;
  while (true) {
    char* buffer = nullptr;
    int length = PQgetCopyData(raw, &buffer, 1);
    std::unique_ptr<char, FreeBytes> owned(buffer);
    if (length > 0) {
      StreamMessage message;
      size_t size = static_cast<size_t>(length);
      if (buffer[0] == 'w' && size >= kDataHeaderBytes) {
        message.kind = StreamMessage::Kind::kFrame;
        message.frame.wal_start = Lsn{absl::big_endian::Load64(buffer + 1)};
        message.frame.bytes = {buffer + kDataHeaderBytes, size - kDataHeaderBytes};
        message.frame.buffer = std::move(owned);
      } else if (buffer[0] == 'k' && size >= kKeepaliveBytes) {
        message.wal_end = Lsn{absl::big_endian::Load64(buffer + 1)};
        message.wants_reply = buffer[17] != 0;
      } else {
        return absl::DataLossError(
            absl::StrCat("the source sent a replication message of unknown kind ",
                         static_cast<int>(buffer[0]), " with ", length, " bytes"));
      }
      return std::optional<StreamMessage>(std::move(message));
    }
    if (length == -1) {
      // The server ended the stream: an error result says why, or it shuts down.
      TOWLINE_ASSIGN_OR_RETURN(PgResultPtr result, connection_.NextResult());
      if (result != nullptr && PQresultStatus(result.get()) == PGRES_FATAL_ERROR) {
        return WithContextField(connection_.ErrorOf(result.get()), result.get());
      }
      return absl::UnavailableError("the source ended the stream");
    }
    if (length == -2) return connection_.ErrorOf(nullptr);
    absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration()) return std::optional<StreamMessage>();
    absl::Status waited = connection_.WaitSocket(false, left);
    if (absl::IsDeadlineExceeded(waited)) return std::optional<StreamMessage>();
    TOWLINE_RETURN_IF_ERROR(waited);
    if (PQconsumeInput(raw) == 0) return connection_.ErrorOf(nullptr);
  }
}

absl::Status ReplicationConnection::SendStatus(Lsn received, Lsn durable, bool wants_reply) {
  // 'r', written, flushed, applied, client time, reply asked (protocol manual). Written is what
  // arrived; the server frees WAL by flushed only.
  char message[1 + 8 * 4 + 1];
  message[0] = 'r';
  absl::big_endian::Store64(message + 1, received.value);
  absl::big_endian::Store64(message + 9, durable.value);
  absl::big_endian::Store64(message + 17, durable.value);
  int64_t now = absl::ToUnixMicros(absl::Now()) - kEpochDifferenceUs;
  absl::big_endian::Store64(message + 25, static_cast<uint64_t>(now));
  message[33] = wants_reply ? 1 : 0;
  return connection_.CopyWrite(absl::string_view(message, sizeof message));
}

void ReplicationConnection::End() {
  PQputCopyEnd(connection_.raw(), nullptr);
  PQflush(connection_.raw());
}

}  // namespace towline
