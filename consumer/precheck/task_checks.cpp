// What concerns the task itself: its options for single tables, its slot, other tasks beside it.
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "config/value_text.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

void CheckTableOptions(CheckContext& context) {
  const CheckOptions& options = context.options;
  std::set<TableName> named;
  for (const auto& [name, policy] : options.existing_by_table) named.insert(name);
  for (const auto& [name, rule] : options.rules) named.insert(name);
  if (named.empty() || context.tables.empty()) return;
  std::vector<std::string> known;
  std::set<TableName> selected;
  for (const Table& table : context.tables) {
    known.push_back(TableNameText(table.name));
    selected.insert(table.name);
    // A rule of a partitioned table may be meant for a partition that alone is selected.
    for (const TableName& ancestor : table.ancestors) {
      if (options.rules.contains(ancestor)) selected.insert(ancestor);
    }
  }
  std::vector<std::string> strange;
  for (const TableName& name : named) {
    if (!selected.contains(name)) strange.push_back(TableNameText(name));
  }
  if (strange.empty()) {
    context.Pass("task.table_options", "every table with options of its own is selected");
    return;
  }
  std::string nearest = NearestOf(strange[0], known);
  context.Fail("task.table_options", absl::StrCat("not selected: ", ListNames(strange)),
               {.text = nearest.empty() ? "" : absl::StrCat("Did you mean \"", nearest, "\"?")});
}

Mend DropSlot(const std::string& slot) {
  return {.statement = absl::StrCat("SELECT pg_catalog.pg_drop_replication_slot(",
                                    QuoteLiteral(slot), ");")};
}

// Before the first start no slot of our name may be there: nobody knows what it has passed. Later
// it must be there; `run` compares its position itself and stops with a status of its own.
void CheckSlot(CheckContext& context) {
  constexpr char kId[] = "task.slot";
  const std::string& slot = context.options.slot;
  if (slot.empty()) return;
  std::optional<Result> result = context.Ask(
      kId, *context.source,
      "SELECT COALESCE(plugin, ''), COALESCE(database, ''), active, COALESCE(active_pid, 0), "
      "COALESCE(wal_status, ''), database = pg_catalog.current_database() "
      "FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
      {{slot}});
  if (!result) return;
  std::string name = QuoteIdentifier(slot);
  if (result->row_count() == 0) {
    if (context.options.is_first_start) {
      context.Pass(kId, absl::StrCat("the name ", name, " is free"));
    } else {
      context.Fail(kId, absl::StrCat("the task's slot ", name, " is gone"),
                   {.text = "Changes since then are lost to this task: towline drop, then copy "
                            "again."});
    }
    return;
  }
  std::string plugin = result->GetString(0, 0);
  bool is_ours = plugin == "towline" && result->GetBool(0, 5);
  if (!is_ours) {
    context.Fail(kId,
                 absl::StrCat("slot ", name, " belongs to something else (plugin ", plugin,
                              ", database ", result->Get(0, 1), ")"),
                 {.text = "Choose another name with --task."});
  } else if (context.options.is_first_start) {
    Mend mend = DropSlot(slot);
    if (result->GetBool(0, 2)) {
      mend = {.text = absl::StrCat("It is in use by pid ", result->Get(0, 3),
                                   ": stop that towline, or choose another name with --task.")};
    }
    context.Fail(
        kId, absl::StrCat("slot ", name, " exists, but the destination knows no such task"), mend);
  } else if (result->Get(0, 4) == "lost") {
    context.Fail(kId, absl::StrCat("slot ", name, " is lost: the source has removed WAL it needs"),
                 {.text = "Changes are lost to this task: towline drop, then copy again."});
  } else if (result->Get(0, 4) == "unreserved") {
    context.Warn(kId, absl::StrCat("slot ", name, " is about to be lost (wal_status unreserved)"),
                 {.text = "Raise max_slot_wal_keep_size on the source, and let the task run."});
  } else {
    context.Pass(kId, absl::StrCat("slot ", name, " is there"));
  }
}

void CheckOtherTask(CheckContext& context) {
  constexpr char kId[] = "task.other_task";
  std::optional<Result> exists = context.Ask(
      kId, *context.destination,
      "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
      "ON n.oid = c.relnamespace WHERE n.nspname = 'towline_state' AND c.relname = 'piece' "
      "AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
      "AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))");
  if (!exists) return;
  if (!exists->GetBool(0, 0)) {
    context.Pass(kId, "no other task writes here");
    return;
  }
  ArrayLiteral schemas;
  ArrayLiteral tables;
  for (const Table& table : context.tables) {
    schemas.Add(table.name.schema);
    tables.Add(table.name.name);
  }
  std::optional<Result> result =
      context.Ask(kId, *context.destination,
                  "SELECT p.task, pg_catalog.count(*), pg_catalog.min(pg_catalog.format('%I.%I', "
                  "p.schema_name, p.table_name)) FROM towline_state.piece p WHERE p.task <> $1 AND "
                  "(p.schema_name, p.table_name) IN (SELECT * FROM unnest($2::text[], $3::text[])) "
                  "GROUP BY p.task ORDER BY p.task",
                  {{context.options.task, schemas.ToString(), tables.ToString()}});
  if (!result) return;
  std::vector<std::string> others;
  for (int row = 0; row < result->row_count(); ++row) {
    others.push_back(absl::StrCat("task ", result->Get(row, 0), " writes ",
                                  Counted(static_cast<size_t>(result->GetInt(row, 1)), "table"),
                                  " of these, ", result->Get(row, 2)));
  }
  if (others.empty()) {
    context.Pass(kId, "no other task writes these tables");
  } else {
    context.Fail(kId, ListNames(others), {});
  }
}

}  // namespace

void CheckTask(CheckContext& context) {
  CheckTableOptions(context);
  if (context.source) CheckSlot(context);
  if (context.destination && !context.options.task.empty()) CheckOtherTask(context);
}

}  // namespace towline
