#include "snapshot/append_staging.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/stable_hash.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// The task's name itself might not fit into an identifier.
std::string Prefix(const std::string& task) {
  return absl::StrFormat("copy_%016x_", StableHash(task));
}

// Which index the source's changes name their rows by; under FULL the primary key says the same.
const UniqueIndex* KeyOf(const Table& source) {
  bool is_named = source.replica_identity == ReplicaIdentity::kIndex;
  for (const UniqueIndex& index : source.unique_indexes) {
    if (is_named ? index.is_replica_identity : index.is_primary) return &index;
  }
  return nullptr;
}

bool IsArbiter(const UniqueIndex& index, std::vector<std::string> columns) {
  if (index.is_partial || index.is_deferrable) return false;
  return std::is_permutation(index.columns.begin(), index.columns.end(), columns.begin(),
                             columns.end());
}

// The source has no two rows of one key. If they are one to the destination, by a collation of its
// own, one of them would be left out for the other.
absl::Status CheckKeysDiffer(Connection& session, const StagedTable& table,
                             const std::string& relation) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result same, session.Exec(absl::StrCat("SELECT FROM ", table.target.relation, " GROUP BY ",
                                             absl::StrJoin(table.key, ", "),
                                             " HAVING pg_catalog.count(*) > 1 LIMIT 1")));
  if (same.row_count() == 0) return absl::OkStatus();
  return WithHint(absl::FailedPreconditionError(
                      absl::StrCat("rows of the source's table ", relation,
                                   " that differ have the same key at the destination")),
                  "Give the key's columns at the destination the collation of the source's.");
}

// Copying everything again would end the same.
absl::Status ExplainRefusedRow(const absl::Status& status) {
  if (!absl::StartsWith(GetSqlState(status), "23")) return status;
  return WithHint(WithCode(status, absl::StatusCode::kFailedPrecondition),
                  "Drop that constraint at the destination, or remove the row that is in the way, "
                  "then run the same command again.");
}

}  // namespace

std::vector<std::string> StagedKey(const Table& source, const Table& destination,
                                   const CopyTarget& target) {
  std::vector<std::string> key;
  const UniqueIndex* index = KeyOf(source);
  if (index == nullptr) return key;
  for (const UniqueIndex& other : destination.unique_indexes) {
    if (!IsArbiter(other, index->columns)) continue;
    for (const std::string& column : index->columns) {
      key.push_back(QuoteIdentifier(column));
      auto at = std::find(target.columns.begin(), target.columns.end(), key.back());
      auto number = static_cast<size_t>(at - target.columns.begin());
      bool is_as_it_is = at != target.columns.end() && !target.is_expression[number];
      if (!is_as_it_is) return {};  // an expression may make one key of two
    }
    return key;
  }
  return key;
}

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
    std::string conflict =
        table.key.empty()
            ? ""
            : absl::StrCat(" ON CONFLICT (", absl::StrJoin(table.key, ", "), ") DO NOTHING");
    absl::StatusOr<Result> moved = session.Exec(
        absl::StrCat("INSERT INTO ", relation, list, " OVERRIDING SYSTEM VALUE SELECT ", columns,
                     " FROM ", table.target.relation, conflict));
    TOWLINE_RETURN_IF_ERROR(ExplainRefusedRow(
        WithContext(moved.status(), absl::StrCat("adding the copied rows to table ", relation))));
    int64_t left_out = counted.GetInt(0, 1) - moved->affected_rows();
    if (left_out > 0) TOWLINE_RETURN_IF_ERROR(CheckKeysDiffer(session, table, relation));
    // The keys of those that are left out are taken by rows that were there.
    LogInfo("copied rows are added to a table that keeps its own",
            {{"table", relation},
             {"kept", absl::StrCat(counted.GetInt(0, 0))},
             {"added", absl::StrCat(moved->affected_rows())},
             {"left_out", absl::StrCat(left_out)}});
    TOWLINE_RETURN_IF_ERROR(MarkPieceCopied(session, claim, name, moved->affected_rows()));
    TOWLINE_RETURN_IF_ERROR(session.Exec("DROP TABLE " + table.target.relation).status());
  }
  FaultPoint("copy:append-before-commit");
  return session.Exec("COMMIT").status();
}

}  // namespace towline
