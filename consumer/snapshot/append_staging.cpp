#include "snapshot/append_staging.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// FNV-1a: the same in every build, unlike std::hash. Tells tasks apart whose names would not fit
// into an identifier.
uint64_t HashTask(const std::string& task) {
  uint64_t hash = 14695981039346656037ULL;
  for (unsigned char c : task) hash = (hash ^ c) * 1099511628211ULL;
  return hash;
}

std::string Prefix(const std::string& task) {
  return absl::StrFormat("copy_%016x_", HashTask(task));
}

}  // namespace

std::string StagingName(const std::string& task, size_t number) {
  return QuoteQualified("towline_state", absl::StrCat(Prefix(task), number));
}

absl::Status DropStaging(Connection& session, const std::string& task) {
  TOWLINE_ASSIGN_OR_RETURN(Result found,
                           session.Query("SELECT c.relname FROM pg_catalog.pg_class c "
                                         "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                                         "WHERE n.nspname = 'towline_state' AND c.relkind = 'r' "
                                         "AND pg_catalog.starts_with(c.relname::text, $1)",
                                         {{Prefix(task)}}));
  for (int row = 0; row < found.row_count(); ++row) {
    TOWLINE_RETURN_IF_ERROR(
        session.Exec("DROP TABLE " + QuoteQualified("towline_state", found.Get(row, 0))).status());
  }
  return absl::OkStatus();
}

absl::Status CreateStaging(Connection& session, const TaskClaim& claim,
                           const std::vector<StagedTable>& tables) {
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, claim));
  TOWLINE_RETURN_IF_ERROR(DropStaging(session, claim.task));
  for (const StagedTable& table : tables) {
    // Names and types only: constraints are met when the rows are moved.
    TOWLINE_RETURN_IF_ERROR(
        session
            .Exec(absl::StrCat(
                "CREATE TABLE ", table.target.relation, " AS SELECT ",
                absl::StrJoin(table.target.columns, ", "), " FROM ONLY ",
                QuoteQualified(table.destination.name.schema, table.destination.name.name),
                " WITH NO DATA"))
            .status());
  }
  return session.Exec("COMMIT").status();
}

absl::Status MoveStaged(Connection& session, const TaskClaim& claim,
                        const std::vector<StagedTable>& tables) {
  if (tables.empty()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, claim));
  for (const StagedTable& table : tables) {
    const TableName& name = table.destination.name;
    std::string columns = absl::StrJoin(table.target.columns, ", ");
    std::string relation = QuoteQualified(name.schema, name.name);
    std::string list = columns.empty() ? "" : absl::StrCat(" (", columns, ")");
    TOWLINE_ASSIGN_OR_RETURN(
        Result counted,
        session.Exec(absl::StrCat("SELECT (SELECT pg_catalog.count(*) FROM ", relation,
                                  "), (SELECT pg_catalog.count(*) FROM ONLY ",
                                  table.target.relation, ")")));
    absl::StatusOr<Result> moved = session.Exec(
        absl::StrCat("INSERT INTO ", relation, list, " OVERRIDING SYSTEM VALUE SELECT ", columns,
                     " FROM ", table.target.relation, " ON CONFLICT DO NOTHING"));
    TOWLINE_RETURN_IF_ERROR(
        WithContext(moved.status(), absl::StrCat("adding the copied rows to table ", relation)));
    // The keys of those that are left out are taken by rows that were there.
    LogInfo("copied rows are added to a table that keeps its own",
            {{"table", relation},
             {"kept", absl::StrCat(counted.GetInt(0, 0))},
             {"added", absl::StrCat(moved->affected_rows())},
             {"left_out", absl::StrCat(counted.GetInt(0, 1) - moved->affected_rows())}});
    TOWLINE_RETURN_IF_ERROR(MarkPieceCopied(session, claim, name, moved->affected_rows()));
    TOWLINE_RETURN_IF_ERROR(session.Exec("DROP TABLE " + table.target.relation).status());
  }
  FaultPoint("copy:append-before-commit");
  return session.Exec("COMMIT").status();
}

}  // namespace towline
