#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/replication_connection.h"
#include "state/state_store.h"

namespace towline {
namespace {

// The timeline that is being written, not the last checkpoint's: after a promotion the two differ
// for a while. A server in recovery writes none.
constexpr char kIdentitySql[] = R"sql(
SELECT d.oid, d.datname, pg_catalog.pg_is_in_recovery(),
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
            ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8)
       END,
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())sql";

}  // namespace

absl::StatusOr<ServerIdentity> ReadServerIdentity(Connection& connection) {
  TOWLINE_ASSIGN_OR_RETURN(Result row, connection.Query(kIdentitySql));
  if (row.row_count() != 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("the ", connection.side(), " does not show its own database"));
  }
  if (row.GetBool(0, 2)) {
    return WithHint(absl::FailedPreconditionError(
                        absl::StrCat("the ", connection.side(), " is a standby (in recovery)")),
                    "Point the URI at the primary.");
  }
  ServerIdentity identity;
  identity.database_oid = static_cast<uint32_t>(row.GetInt(0, 0));
  identity.database = row.GetString(0, 1);
  if (!absl::SimpleHexAtoi(row.Get(0, 3), &identity.timeline)) {
    return absl::InternalError("cannot read the timeline of a WAL file's name");
  }
  if (row.GetBool(0, 4)) {
    TOWLINE_ASSIGN_OR_RETURN(
        std::string identifier,
        connection.QueryValue("SELECT system_identifier FROM pg_catalog.pg_control_system()"));
    // The server holds it unsigned and shows it as bigint.
    int64_t shown = 0;
    if (!absl::SimpleAtoi(identifier, &shown)) {
      return absl::InternalError("cannot read the system identifier");
    }
    identity.system_identifier = static_cast<uint64_t>(shown);
  }
  return identity;
}

absl::StatusOr<ServerIdentity> ReadSourceIdentity(Connection& connection,
                                                  const ConnectOptions& options,
                                                  const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(ServerIdentity identity, ReadServerIdentity(connection));
  if (identity.system_identifier != 0) return identity;
  TOWLINE_ASSIGN_OR_RETURN(ReplicationConnection replication,
                           ReplicationConnection::Open(options, "towline identity", shutdown));
  TOWLINE_ASSIGN_OR_RETURN(SystemIdentity system, replication.IdentifySystem());
  identity.system_identifier = system.system_identifier;
  return identity;
}

absl::Status CheckIsStandbyOf(const ServerIdentity& source, Connection& standby,
                              const ConnectOptions& options, const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(Result row,
                           standby.Query("SELECT pg_catalog.pg_is_in_recovery(), d.oid "
                                         "FROM pg_catalog.pg_database d "
                                         "WHERE d.datname = pg_catalog.current_database()"));
  TOWLINE_ASSIGN_OR_RETURN(ReplicationConnection replication,
                           ReplicationConnection::Open(options, "towline identity", shutdown));
  TOWLINE_ASSIGN_OR_RETURN(SystemIdentity system, replication.IdentifySystem());
  auto refuse = [&](absl::string_view text, absl::string_view hint) {
    return WithHint(absl::DataLossError(absl::StrCat("the server of source_standby ", text)), hint);
  };
  if (source.system_identifier != system.system_identifier) {
    return refuse("is no standby of the source: it has another system identifier",
                  "Correct source or source_standby.");
  }
  if (!row.GetBool(0, 0)) {
    return refuse(
        system.timeline == source.timeline ? "is the source itself, or was promoted"
                                           : "was promoted: its log is not the source's any more",
        "Name a server that follows the source. A slot on a server that was promoted is of no use "
        "to a task that copies from the old primary: drop the task (towline drop) and copy anew "
        "from the primary of now.");
  }
  if (system.timeline != source.timeline) {
    return refuse(absl::StrCat("follows timeline ", system.timeline, ", and the source writes ",
                               source.timeline),
                  "Let it follow the source.");
  }
  if (row.row_count() != 1 || static_cast<uint32_t>(row.GetInt(0, 1)) != source.database_oid) {
    return refuse("was asked for another database than the source",
                  "Give both URIs the same database.");
  }
  return absl::OkStatus();
}

}  // namespace towline
