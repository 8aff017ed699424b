#include "run/join_plan.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "run/retry_windows.h"
#include "schema/catalog_reader.h"
#include "schema/shared_rows.h"
#include "schema/table_rules.h"
#include "snapshot/existing_tables.h"
#include "snapshot/range_plan.h"
#include "state/other_writer.h"
#include "state/task_row.h"

namespace towline {
namespace {

// What reads or writes the table beside us, and would meet it empty or half full.
constexpr char kBesideSql[] = R"sql(
SELECT pg_catalog.current_setting('session_replication_role') = 'replica' OR NOT EXISTS (
         SELECT FROM pg_catalog.pg_constraint WHERE contype = 'f'
         AND $1::bigint::oid IN (conrelid, confrelid)),
       EXISTS (SELECT FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_class'::regclass
               AND objid = $1::bigint::oid AND deptype = 'e')
)sql";

absl::Status Refuse(const std::string& text, const std::string& hint) {
  return WithHint(absl::FailedPreconditionError(text), hint);
}

// The stream stands still. A table that is locked is planned as a small one: copied whole.
absl::StatusOr<std::vector<Table>> ReadSized(Connection& source, const JoinedTable& joined) {
  auto read = [&](bool has_sizes) -> absl::StatusOr<std::vector<Table>> {
    if (joined.source_oid == 0) return ReadTablesByName(source, {joined.name}, has_sizes);
    TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables,
                             ReadTablesByOid(source, {joined.source_oid}, has_sizes));
    if (tables.empty()) tables.emplace_back().name = joined.name;
    return tables;
  };
  std::vector<Table> found;
  absl::Status sized = InTransaction(source, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(source.Exec("SET LOCAL lock_timeout = '500ms'").status());
    TOWLINE_ASSIGN_OR_RETURN(found, read(/*has_sizes=*/true));
    return absl::OkStatus();
  });
  if (GetSqlState(sized) == "55P03") return read(/*has_sizes=*/false);
  TOWLINE_RETURN_IF_ERROR(sized);
  return found;
}

absl::Status CheckSameName(const Table& table, const JoinedTable& joined) {
  if (table.name == joined.name) return absl::OkStatus();
  return Refuse(absl::StrCat("table ", QuoteQualified(joined.name.schema, joined.name.name), " is ",
                             QuoteQualified(table.name.schema, table.name.name),
                             " at the source, by a schema change that was not carried"),
                "See towline ddl list, and rename it at the destination; towline table remove and "
                "add let it join under its new name.");
}

absl::Status CheckSource(const Table& table, const std::string& name) {
  if (table.oid == 0) {
    return Refuse(absl::StrCat("table ", name, " is not at the source"),
                  "Name it as it is there; towline table remove lets it leave the task.");
  }
  if (table.kind != 'r') {
    return Refuse(absl::StrCat(name, " is a partitioned table and has no rows of its own"),
                  "Name its partitions, one by one.");
  }
  if (table.persistence != 'p') {
    return Refuse(absl::StrCat("table ", name, " is unlogged: its changes are not in the log"),
                  absl::StrCat("At the source: ALTER TABLE ", name, " SET LOGGED;"));
  }
  if (!table.can_select) {
    return Refuse(absl::StrCat("the source's role may not read table ", name),
                  absl::StrCat("At the source: GRANT SELECT ON ", name, " TO the role."));
  }
  if (table.has_row_security) {
    return Refuse(absl::StrCat("row security hides rows of table ", name, " from our role"),
                  "At the source: ALTER ROLE ... BYPASSRLS, or a policy that shows all rows.");
  }
  return absl::OkStatus();
}

// verify --repair would take the others' rows as well, and refuses.
constexpr char kMendByHand[] =
    "Let towline verify --repair-sql FILE write the statements that would make it equal, and run "
    "those that are right.";

absl::Status CheckBeside(Connection& destination, const CopierOptions& options, const Table& there,
                         const std::string& rule, const std::string& name) {
  TOWLINE_ASSIGN_OR_RETURN(Result found,
                           destination.Query(kBesideSql, {{absl::StrCat(there.oid)}}));
  if (!found.GetBool(0, 0)) {
    return Refuse(absl::StrCat("foreign keys of table ", name,
                               " act at the destination while it is emptied and copied"),
                  "Let the destination's role set session_replication_role (from version 15 on: "
                  "GRANT SET ON PARAMETER session_replication_role TO the role), or drop these "
                  "foreign keys there for the time.");
  }
  if (found.GetBool(0, 1) && !options.extension_rows.contains(there.name)) {
    return Refuse(absl::StrCat("table ", name,
                               " belongs to an extension at the destination: "
                               "emptying it would take the extension's own rows"),
                  "Mend its rows with towline verify --repair.");
  }
  TOWLINE_ASSIGN_OR_RETURN(const std::string other,
                           FindOtherWriter(destination, options.task, there.name, rule));
  if (!other.empty()) {
    return Refuse(absl::StrCat("task ", other, " writes table ", name,
                               " as well: emptying it would take that one's rows"),
                  kMendByHand);
  }
  return absl::OkStatus();
}

// Values of columns that the task does not write would not come back.
absl::Status CheckOwnColumns(Connection& destination, const Table& there, const CopyTarget& target,
                             const ExtensionRows& own_rows, const std::string& name) {
  std::vector<std::string> own;
  for (const TableColumn& column : there.columns) {
    const std::string quoted = QuoteIdentifier(column.name);
    const bool is_written =
        std::find(target.columns.begin(), target.columns.end(), quoted) != target.columns.end();
    if (!is_written && column.generated == '\0') own.push_back(quoted);
  }
  if (own.empty()) return absl::OkStatus();
  auto ours = own_rows.find(there.name);
  TOWLINE_ASSIGN_OR_RETURN(
      std::string has_values,
      destination.QueryValue(absl::StrCat(
          "SELECT EXISTS (SELECT FROM ONLY ", name, " WHERE (",
          absl::StrJoin(own, " IS NOT NULL OR "), " IS NOT NULL)",
          ours == own_rows.end() ? "" : absl::StrCat(" AND ", AsOperand(ours->second)), ")")));
  if (has_values != "t") return absl::OkStatus();
  return Refuse(
      absl::StrCat("table ", name, " has values in columns that the task does not write (",
                   absl::StrJoin(own, ", "), "), which would be lost"),
      "Mend its rows with towline verify --repair; or set these columns to NULL first.");
}

}  // namespace

absl::Status CheckMayJoin(const Config& config, bool is_two_phase) {
  if (config.two_phase || is_two_phase) {
    return Refuse(
        "transactions are mirrored at their PREPARE (two_phase): one that the table's snapshot "
        "lacks may be prepared already",
        "Run with two_phase: off until the table streams (a slot of a source older than version 18 "
        "stays as it is); or drop the task (towline drop) and copy anew.");
  }
  if (!config.foreign_origins) {
    return Refuse(
        "with origin: none the destination's own rows are carried elsewhere, and emptying the "
        "table would lose those that have not arrived there",
        "Mend its rows with towline verify --repair.");
  }
  return absl::OkStatus();
}

absl::Status CheckSelected(const std::vector<ListedTable>& tables, const Table& table) {
  auto found = std::find_if(tables.begin(), tables.end(), [&table](const ListedTable& listed) {
    return listed.oid == table.oid;
  });
  if (found != tables.end() && found->is_selected) return absl::OkStatus();
  return Refuse(absl::StrCat("include and exclude do not select table ",
                             QuoteQualified(table.name.schema, table.name.name)),
                "Take it into the selection, start the task again, then towline table rejoin.");
}

absl::StatusOr<JoinPlan> PlanJoin(Connection& source, Connection& destination,
                                  const CopierOptions& options, const JoinedTable& joined,
                                  JoinLook look) {
  const std::string name = QuoteQualified(joined.name.schema, joined.name.name);
  // Before the columns that are copied by it: one that is added in between shows under the
  // snapshot.
  absl::StatusOr<std::string> source_form = ReadSourceForm(source, joined.name);
  if (!source_form.ok() && !absl::IsNotFound(source_form.status())) return source_form.status();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> here, ReadSized(source, joined));
  if (joined.existing == "append" || options.existing(here.front()) == "append") {
    return Refuse(absl::StrCat("table ", name, " keeps rows of its own (existing: append)"),
                  kMendByHand);
  }
  TOWLINE_RETURN_IF_ERROR(CheckSource(here.front(), name));
  if (look == JoinLook::kWhole) {
    TOWLINE_RETURN_IF_ERROR(CheckSameName(here.front(), joined));
    TOWLINE_RETURN_IF_ERROR(source_form.status());
  }
  const TableRule* rule = FindRule(options.rules, here.front());
  if (rule != nullptr && rule->operations != RuleOperations()) {
    return Refuse(absl::StrCat("the rule of table ", name,
                               " leaves out operations: rows that the source has no more would be "
                               "lost"),
                  "Mend its rows by hand.");
  }
  if (look == JoinLook::kWhole) {
    TOWLINE_ASSIGN_OR_RETURN(
        here, PublishTables(source, options.rules, std::move(here), AssignmentCheck::kSkip));
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there, ReadTablesByName(destination, {joined.name}));
  if (there.front().oid == 0) {
    return Refuse(absl::StrCat("table ", name, " is missing at the destination"),
                  absl::StrCat("pg_dump --schema-only --table='", name,
                               "' SOURCE | psql "
                               "DESTINATION"));
  }
  if (look == JoinLook::kWhole) {
    TOWLINE_RETURN_IF_ERROR(CheckFit(here, there, /*all_exist=*/true));
    TOWLINE_RETURN_IF_ERROR(CheckSharedFit(destination, options.rules, here, there));
  }
  if (there.front().kind != 'r' || there.front().has_row_security) {
    return Refuse(absl::StrCat("table ", name,
                               there.front().kind != 'r' ? " is partitioned at the destination"
                                                         : " has row security for our role there"),
                  "Empty and copy it by hand, or drop the task (towline drop) and copy anew.");
  }
  TOWLINE_RETURN_IF_ERROR(CheckBeside(destination, options, there.front(), RuleText(rule), name));
  JoinPlan plan;
  plan.rule = RuleText(rule);
  if (look == JoinLook::kAhead) {
    plan.table = std::move(here.front());
    plan.there = std::move(there.front());
    return plan;
  }
  plan.target = MakeTarget(here.front(), there.front(), rule,
                           MakePair(source.server_version(), source.server_encoding(),
                                    destination.server_version(), destination.server_encoding()));
  TOWLINE_RETURN_IF_ERROR(
      CheckOwnColumns(destination, there.front(), plan.target, options.own_rows, name));
  plan.source_form = *std::move(source_form);
  plan.table = std::move(here.front());
  plan.there = std::move(there.front());
  return plan;
}

absl::Status WithRejoinHint(const absl::Status& status, const TableName& table) {
  const std::string rejoin =
      absl::StrCat("towline table rejoin '", QuoteQualified(table.schema, table.name), "'");
  std::string hint = absl::StrReplaceAll(
      GetHint(status), {{"run the same command again", rejoin}, {"run again", rejoin}});
  if (hint.empty()) {
    hint = absl::StrCat("Mend that, then ", rejoin, ".");
  } else if (!absl::StrContains(hint, "towline table rejoin")) {
    absl::StrAppend(&hint, " Then ", rejoin, ".");
  }
  return WithHint(status, hint);
}

bool IsTableFault(const absl::Status& status) {
  const std::string sqlstate = GetSqlState(status);
  for (absl::string_view refused : {"22", "23", "54", "P0"}) {
    if (absl::StartsWith(sqlstate, refused)) return true;
  }
  if (absl::IsDeadlineExceeded(status)) return true;
  return RetryKindOf(status) == RetryKind::kNever && !status.ok() && !absl::IsCancelled(status) &&
         !absl::IsDataLoss(status) && !absl::IsInternal(status) && !absl::IsUnauthenticated(status);
}

}  // namespace towline
