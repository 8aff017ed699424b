// Keys, constraints and triggers of tables that are at the destination already, and the triggers
// that tables will be created with: what refuses a row that the source has taken, or changes it.
#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"

namespace towline {
namespace {

using Columns = std::set<std::string>;

Columns ColumnsOf(const UniqueIndex& index) { return {index.columns.begin(), index.columns.end()}; }

// By its keys (schema/shared_rows.h).
bool IsShared(const CheckContext& context, const TableName& table) {
  auto rule = context.options.rules.find(table);
  return rule != context.options.rules.end() && !rule->second.shared.empty();
}

bool HasKeyOn(const Table& table, const Columns& columns) {
  return std::any_of(table.unique_indexes.begin(), table.unique_indexes.end(),
                     [&columns](const UniqueIndex& index) {
                       return !index.is_partial && !index.is_deferrable &&
                              ColumnsOf(index) == columns;
                     });
}

// By which the rows of updates and deletes are found: the primary key, or what stands for it.
const UniqueIndex* KeyOf(const Table& table) {
  for (const UniqueIndex& index : table.unique_indexes) {
    if (table.replica_identity == ReplicaIdentity::kIndex ? index.is_replica_identity
                                                          : index.is_primary) {
      return &index;
    }
  }
  return nullptr;
}

const UniqueIndex* PrimaryKeyOf(const Table& table) {
  auto found = std::find_if(table.unique_indexes.begin(), table.unique_indexes.end(),
                            [](const UniqueIndex& index) { return index.is_primary; });
  return found == table.unique_indexes.end() ? nullptr : &*found;
}

// A key that is missing is made after the copy, with the rest of the schema; except that a table
// which has a primary key gets no second one, that a run without the schema makes none, and that a
// key that the rule leaves out is none of ours.
void CheckKeys(CheckContext& context) {
  constexpr char kId[] = "destination.keys";
  std::vector<std::string> names;
  std::vector<std::string> statements;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    const Table& there = context.existing[i];
    const UniqueIndex* key = KeyOf(context.tables[i]);
    if (there.oid == 0 || key == nullptr || HasKeyOn(there, ColumnsOf(*key))) continue;
    if (IsShared(context, there.name)) continue;
    const UniqueIndex* own = PrimaryKeyOf(there);
    if (context.options.copies_schema && (own == nullptr || !key->is_primary)) continue;
    std::vector<std::string> quoted;
    for (const std::string& column : key->columns) quoted.push_back(QuoteIdentifier(column));
    names.push_back(absl::StrCat(QuotedName(there.name), " (",
                                 own != nullptr ? absl::StrJoin(own->columns, ", ") : "none",
                                 " instead of ", absl::StrJoin(key->columns, ", "), ")"));
    statements.push_back(absl::StrCat("CREATE UNIQUE INDEX ON ", QuotedName(there.name), " (",
                                      absl::StrJoin(quoted, ", "), ");"));
  }
  context.WarnOf(kId, names, "table", "without the source's key",
                 context.options.copies_schema
                     ? "tables that are there have the source's keys, or get them after the copy"
                     : "tables that are there have the source's keys",
                 {.statement = absl::StrJoin(statements, "\n")});
}

// Unique and exclusion indexes and CHECK constraints: the table, the name, what they demand (in a
// form that is the same for the same demand), whether at once, and whether a constraint stands
// behind it.
constexpr char kDemandsSql[] = R"sql(
SELECT n.nspname, c.relname, ic.relname,
       CASE WHEN i.indisexclusion THEN pg_catalog.pg_get_constraintdef(k.oid)
            ELSE pg_catalog.array_to_string(ARRAY(
                   SELECT d FROM (SELECT CASE WHEN i.indkey[s - 1] = 0
                                           THEN pg_catalog.pg_get_indexdef(i.indexrelid, s, false)
                                           ELSE (SELECT pg_catalog.quote_ident(a.attname)
                                                 FROM pg_catalog.pg_attribute a
                                                 WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[s - 1]) END
                                  FROM pg_catalog.generate_series(1, i.indnkeyatts::int) s) AS column_of(d)
                   ORDER BY d COLLATE pg_catalog."C"), ', ')
                 || COALESCE(' WHERE ' || pg_catalog.pg_get_expr(i.indpred, i.indrelid), '') END,
       i.indimmediate, k.conname IS NOT NULL
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint k
  ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid = ANY ($1::oid[]) AND (i.indisunique OR i.indisexclusion)
UNION ALL
SELECT n.nspname, c.relname, k.conname, pg_catalog.pg_get_constraintdef(k.oid), true, true
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.conrelid = ANY ($1::oid[]) AND k.contype = 'c'
ORDER BY 1, 2, 3
)sql";

std::string DemandKey(const Result& result, int row, bool is_immediate) {
  return absl::StrCat(result.Get(row, 0), ".", result.Get(row, 1), ": ", result.Get(row, 3),
                      is_immediate ? "" : " deferred");
}

// Columns that take NULL at the source and do not here.
void AddNotNulls(const CheckContext& context, std::vector<std::string>& names,
                 std::vector<std::string>& statements) {
  for (size_t i = 0; i < context.existing.size(); ++i) {
    const Table& there = context.existing[i];
    if (there.oid == 0) continue;
    for (const TableColumn& column : context.published[i].columns) {
      const TableColumn* other = there.FindColumn(column.name);
      if (other == nullptr || !other->is_not_null || column.is_not_null) continue;
      if (column.attnum == 0) continue;  // an expression: nothing is known of it
      names.push_back(absl::StrCat("NOT NULL of ", QuotedName(there.name), ".", column.name));
      statements.push_back(absl::StrCat("ALTER TABLE ", QuotedName(there.name), " ALTER COLUMN ",
                                        QuoteIdentifier(column.name), " DROP NOT NULL;"));
    }
  }
}

void CheckConstraints(CheckContext& context) {
  constexpr char kId[] = "destination.constraints";
  std::vector<Table> here;
  std::vector<Table> there;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    if (context.existing[i].oid == 0) continue;
    here.push_back(context.tables[i]);
    there.push_back(context.existing[i]);
  }
  std::optional<Result> source = context.Ask(kId, *context.source, kDemandsSql, {{OidsOf(here)}});
  std::optional<Result> destination =
      context.Ask(kId, *context.destination, kDemandsSql, {{OidsOf(there)}});
  if (!source || !destination) return;
  std::set<std::string> known;
  for (int row = 0; row < source->row_count(); ++row) {
    known.insert(DemandKey(*source, row, source->GetBool(row, 4)));
    known.insert(DemandKey(*source, row, false));  // later is never stricter
  }
  std::vector<std::string> names;
  std::vector<std::string> statements;
  for (int row = 0; row < destination->row_count(); ++row) {
    if (known.contains(DemandKey(*destination, row, destination->GetBool(row, 4)))) continue;
    const TableName name{destination->GetString(row, 0), destination->GetString(row, 1)};
    const bool is_check = absl::StartsWith(destination->Get(row, 3), "CHECK ");
    if (!is_check && IsShared(context, name)) continue;
    std::string table = QuotedName(name);
    names.push_back(absl::StrCat(destination->Get(row, 2), " of ", table, " (",
                                 destination->Get(row, 3),
                                 destination->GetBool(row, 4) ? ")" : ", deferrable)"));
    statements.push_back(
        destination->GetBool(row, 5)
            ? absl::StrCat("ALTER TABLE ", table, " DROP CONSTRAINT ",
                           QuoteIdentifier(destination->Get(row, 2)), ";")
            : absl::StrCat("DROP INDEX ",
                           QuoteQualified(destination->Get(row, 0), destination->Get(row, 2)),
                           ";"));
  }
  AddNotNulls(context, names, statements);
  context.WarnOf(kId, names, "constraint", "that the source does not have",
                 "tables that are there demand nothing that the source does not",
                 {.statement = absl::StrJoin(statements, "\n")});
}

// Triggers and rules that fire under session_replication_role = replica. Internal ones are those of
// constraints: of foreign keys, which check and cascade, and of deferrable unique ones. How they
// are enabled does not come with the schema ($2: whether they count). Clones of other triggers,
// which older servers have as internal ones, are no constraint's of these kinds.
constexpr char kTriggersSql[] = R"sql(
SELECT pg_catalog.format('%I of %I.%I', t.tgname, n.nspname, c.relname)
         || CASE WHEN t.tgisinternal THEN pg_catalog.format(' (constraint %I)', k.conname) ELSE '' END,
       pg_catalog.format('ALTER TABLE %I.%I ENABLE TRIGGER %I;', n.nspname, c.relname, t.tgname)
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint
WHERE t.tgrelid = ANY ($1::oid[]) AND t.tgenabled IN ('A', 'R')
  AND (NOT t.tgisinternal OR $2::boolean AND k.contype IN ('f', 'p', 'u', 'x'))
UNION ALL
SELECT pg_catalog.format('%I of %I.%I', r.rulename, n.nspname, c.relname),
       pg_catalog.format('ALTER TABLE %I.%I ENABLE RULE %I;', n.nspname, c.relname, r.rulename)
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.ev_class = ANY ($1::oid[]) AND r.ev_enabled IN ('A', 'R')
ORDER BY 1
)sql";

void CheckTriggers(CheckContext& context) {
  constexpr char kId[] = "destination.triggers";
  std::vector<Table> created;
  std::vector<Table> there;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    const Table& table = context.existing[i];
    (table.oid == 0 ? created : there).push_back(table.oid == 0 ? context.tables[i] : table);
  }
  std::optional<Result> coming =
      context.Ask(kId, *context.source, kTriggersSql, {{OidsOf(created), "f"}});
  std::optional<Result> firing =
      context.Ask(kId, *context.destination, kTriggersSql, {{OidsOf(there), "t"}});
  if (!coming || !firing) return;
  std::vector<std::string> names;
  std::vector<std::string> statements;
  for (int row = 0; row < firing->row_count(); ++row) {
    names.push_back(firing->GetString(row, 0));
    statements.push_back(firing->GetString(row, 1));
  }
  for (int row = 0; row < coming->row_count(); ++row) {
    names.push_back(absl::StrCat(coming->Get(row, 0), " (comes with the schema)"));
  }
  context.WarnOf(kId, names, "trigger", "firing for what towline writes",
                 "no trigger fires for what towline writes",
                 {.statement = absl::StrJoin(statements, "\n")});
}

}  // namespace

void CheckDestinationKeys(CheckContext& context) {
  CheckKeys(context);
  CheckConstraints(context);
  CheckTriggers(context);
}

}  // namespace towline
