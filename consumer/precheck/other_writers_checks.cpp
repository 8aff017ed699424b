// Who else writes what this task writes: subscriptions at the destination, and tasks that carry the
// destination's changes back into the source.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"
#include "state/state_store.h"

namespace towline {
namespace {

void CheckSubscriptions(CheckContext& context) {
  constexpr char kId[] = "task.subscription";
  ArrayLiteral schemas;
  ArrayLiteral tables;
  for (const Table& table : context.tables) {
    schemas.Add(table.name.schema);
    tables.Add(table.name.name);
  }
  std::optional<Result> result = context.Ask(
      kId, *context.destination,
      "SELECT s.subname, s.subenabled, pg_catalog.count(*), "
      "pg_catalog.min(pg_catalog.format('%I.%I', n.nspname, c.relname)) "
      "FROM unnest($1::text[], $2::text[]) AS wanted(nspname, relname) "
      "JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname "
      "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relname "
      "JOIN pg_catalog.pg_subscription_rel r ON r.srrelid = c.oid "
      "JOIN pg_catalog.pg_subscription s ON s.oid = r.srsubid "
      "GROUP BY s.subname, s.subenabled ORDER BY s.subname",
      {{schemas.ToString(), tables.ToString()}});
  if (!result) return;
  std::vector<std::string> found;
  std::vector<std::string> statements;
  bool is_enabled = false;
  for (int row = 0; row < result->row_count(); ++row) {
    is_enabled = is_enabled || result->GetBool(row, 1);
    found.push_back(absl::StrCat("subscription ", result->Get(row, 0),
                                 result->GetBool(row, 1) ? "" : " (disabled)", " writes ",
                                 Counted(static_cast<size_t>(result->GetInt(row, 2)), "table"),
                                 " of these, ", result->Get(row, 3)));
    if (result->GetBool(row, 1)) {
      statements.push_back(
          absl::StrCat("ALTER SUBSCRIPTION ", QuoteIdentifier(result->Get(row, 0)), " DISABLE;"));
    }
  }
  if (found.empty()) {
    context.Pass(kId, "no subscription writes these tables");
  } else if (is_enabled) {
    context.Fail(kId, ListNames(found), {.statement = absl::StrJoin(statements, "\n")});
  } else {
    context.Warn(kId, ListNames(found), {});
  }
}

// Tasks that write into the source and have their own source at our destination, with their slots
// there; visible only to a role that may read them.
std::optional<std::vector<std::string>> TasksBack(CheckContext& context, const char* id,
                                                  std::vector<std::string>& slots) {
  std::vector<std::string> tasks;
  absl::StatusOr<ServerIdentity> destination = ReadServerIdentity(*context.destination);
  if (!destination.ok() || destination->system_identifier == 0) return tasks;
  std::optional<Result> readable = context.Ask(
      id, *context.source,
      "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
      "ON n.oid = c.relnamespace WHERE n.nspname = 'towline_state' AND c.relname = 'task' "
      "AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
      "AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))");
  if (!readable) return std::nullopt;
  if (!readable->GetBool(0, 0)) return tasks;
  std::optional<Result> rows = context.Ask(
      id, *context.source,
      "SELECT task, slot FROM towline_state.task WHERE source_system_identifier = "
      "$1::numeric AND source_database_oid = $2::bigint ORDER BY task",
      {{absl::StrCat(destination->system_identifier), absl::StrCat(destination->database_oid)}});
  if (!rows) return std::nullopt;
  for (int row = 0; row < rows->row_count(); ++row) {
    tasks.push_back(rows->GetString(row, 0));
    slots.push_back(rows->GetString(row, 1));
  }
  return tasks;
}

void CheckLoop(CheckContext& context) {
  constexpr char kId[] = "task.loop";
  std::vector<std::string> slots;
  std::optional<std::vector<std::string>> tasks = TasksBack(context, kId, slots);
  if (!tasks) return;
  ArrayLiteral wanted;
  for (const std::string& slot : slots) wanted.Add(slot);
  // A task that is left from before a switch-over has no slot, or one that nobody reads.
  std::optional<Result> there =
      context.Ask(kId, *context.destination,
                  "SELECT w.number, s.active FROM unnest($1::text[]) WITH ORDINALITY AS w(slot, "
                  "number) JOIN pg_catalog.pg_replication_slots s ON s.slot_name = w.slot "
                  "ORDER BY w.number",
                  {{wanted.ToString()}});
  if (!there) return;
  std::vector<std::string> found;
  bool is_active = false;
  for (int row = 0; row < there->row_count(); ++row) {
    is_active = is_active || there->GetBool(row, 1);
    found.push_back(absl::StrCat("task ", (*tasks)[static_cast<size_t>(there->GetInt(row, 0)) - 1],
                                 there->GetBool(row, 1) ? "" : " (not running)",
                                 " carries the destination's changes into the source"));
  }
  if (found.empty()) {
    context.Pass(kId, "no task that can be seen carries the destination's changes back");
  } else if (context.options.requires_origin) {
    context.Pass(kId, absl::StrCat(ListNames(found), "; origin is none"));
  } else if (is_active) {
    context.Fail(kId, ListNames(found), {});
  } else {
    context.Warn(kId, ListNames(found), {});
  }
}

}  // namespace

void CheckOtherWriters(CheckContext& context) {
  if (!context.destination || context.is_same_database) return;
  CheckSubscriptions(context);
  if (context.source) CheckLoop(context);
}

}  // namespace towline
