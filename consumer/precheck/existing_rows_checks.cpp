// Rows that are at the destination before the copy: those that stand in its way, and those that
// would refer to rows which it removes.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"
#include "schema/catalog_reader.h"
#include "schema/shared_rows.h"

namespace towline {
namespace {

bool CanLook(const Table& table) { return table.can_select && !table.has_row_security; }

// Those of the tables whose file is not empty. Most tables that were made for a task are, and to
// look takes a tenth of the time of a query over each.
std::optional<std::vector<const Table*>> WithBytes(CheckContext& context,
                                                   const std::vector<const Table*>& tables) {
  ArrayLiteral oids;
  for (const Table* table : tables) oids.Add(absl::StrCat(table->oid));
  std::optional<Result> result = context.Ask(
      "destination.rows", *context.destination,
      "SELECT number FROM pg_catalog.unnest($1::oid[]) WITH ORDINALITY AS asked(oid, number) WHERE "
      "pg_catalog.pg_relation_size(oid) > 0 ORDER BY number",
      {{oids.ToString()}});
  if (!result) return std::nullopt;
  std::vector<const Table*> found;
  for (int row = 0; row < result->row_count(); ++row) {
    found.push_back(tables[static_cast<size_t>(result->GetInt(row, 0)) - 1]);
  }
  return found;
}

// Of a table that holds others as well the rows that are the task's.
std::string WhoseRows(const CheckContext& context, const TableName& table) {
  const ExtensionRows own = OwnRows(context.options.extension_rows, context.options.rules);
  auto found = own.find(table);
  return found == own.end() ? "" : absl::StrCat(" WHERE ", AsOperand(found->second));
}

// Whether each of these tables has a row, in a few statements for all.
std::optional<std::vector<bool>> HaveRows(CheckContext& context, const char* id,
                                          const std::vector<const Table*>& tables) {
  constexpr size_t kTablesPerStatement = 100;
  std::vector<bool> have;
  for (size_t begin = 0; begin < tables.size(); begin += kTablesPerStatement) {
    std::vector<std::string> parts;
    for (size_t i = begin; i < std::min(tables.size(), begin + kTablesPerStatement); ++i) {
      parts.push_back(absl::StrCat("SELECT ", i, ", EXISTS (SELECT 1 FROM ",
                                   QuotedName(tables[i]->name), WhoseRows(context, tables[i]->name),
                                   ")"));
    }
    std::optional<Result> result = context.Ask(
        id, *context.destination, absl::StrCat(absl::StrJoin(parts, " UNION ALL "), " ORDER BY 1"));
    if (!result) return std::nullopt;
    for (int row = 0; row < result->row_count(); ++row) have.push_back(result->GetBool(row, 1));
  }
  return have;
}

void CheckRows(CheckContext& context) {
  std::vector<const Table*> asked;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    const Table& there = context.existing[i];
    // A partitioned table's rows are found in its partitions; what we may not read is said by
    // destination.table_privileges.
    if (there.oid != 0 && there.kind == 'r' && CanLook(there) &&
        context.options.existing.For(context.tables[i]) == ExistingTables::kStop) {
      asked.push_back(&there);
    }
  }
  std::optional<std::vector<const Table*>> filled = WithBytes(context, asked);
  if (!filled) return;
  std::optional<std::vector<bool>> have = HaveRows(context, "destination.rows", *filled);
  if (!have) return;
  std::vector<std::string> names;
  for (size_t i = 0; i < have->size(); ++i) {
    if ((*have)[i]) names.push_back(QuotedName((*filled)[i]->name));
  }
  if (names.empty()) {
    context.Pass("destination.rows", "no rows stand in the way");
  } else {
    context.Fail("destination.rows",
                 absl::StrCat(Counted(names.size(), "table"), " with rows: ", ListNames(names)),
                 {});
  }
}

// Tables that hold bytes, are not emptied themselves, and of which a foreign key refers to one that
// is ($1) and is not empty; with what they refer to. A foreign key of a partitioned table is that
// of its partitions, and one that refers to a partitioned table refers to its partitions.
constexpr char kReferringSql[] = R"sql(
WITH emptied AS MATERIALIZED (SELECT pg_catalog.unnest($1::oid[]) AS oid),
filled AS MATERIALIZED (SELECT oid FROM emptied WHERE pg_catalog.pg_relation_size(oid) > 0),
keys AS MATERIALIZED (
  SELECT DISTINCT k.conrelid, k.confrelid
  FROM pg_catalog.pg_constraint k
  CROSS JOIN LATERAL (SELECT k.confrelid AS oid
                      UNION SELECT relid FROM pg_catalog.pg_partition_tree(k.confrelid)) referred
  JOIN filled ON filled.oid = referred.oid
  WHERE k.contype = 'f' AND k.conparentid = 0)
SELECT n.nspname, c.relname,
       pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', rn.nspname, r.relname), ', ')
FROM keys k
CROSS JOIN LATERAL (SELECT k.conrelid AS oid
                    UNION SELECT relid FROM pg_catalog.pg_partition_tree(k.conrelid)) referring
JOIN pg_catalog.pg_class c ON c.oid = referring.oid AND c.relkind = 'r'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.oid NOT IN (SELECT oid FROM emptied) AND pg_catalog.pg_relation_size(c.oid) > 0
GROUP BY 1, 2 ORDER BY 1, 2
)sql";

// Foreign keys do not act while we write, so rows of other tables that refer to removed ones stay.
// Of what we may not read we take it that it has rows.
void CheckReferringRows(CheckContext& context) {
  constexpr char kId[] = "destination.referring_rows";
  constexpr char kNothing[] = "no rows that stay refer to tables that are emptied";
  ArrayLiteral emptied;
  bool is_any = false;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    const Table& there = context.existing[i];
    if (there.oid != 0 && there.kind == 'r' &&
        context.options.existing.For(context.tables[i]) == ExistingTables::kTruncate) {
      emptied.Add(absl::StrCat(there.oid));
      is_any = true;
    }
  }
  if (!is_any) {
    context.Pass(kId, kNothing);
    return;
  }
  std::optional<Result> result =
      context.Ask(kId, *context.destination, kReferringSql, {{emptied.ToString()}});
  if (!result) return;
  std::vector<TableName> names;
  for (int row = 0; row < result->row_count(); ++row) {
    names.push_back({result->GetString(row, 0), result->GetString(row, 1)});
  }
  absl::StatusOr<std::vector<Table>> referring = ReadTablesByName(*context.destination, names);
  if (!referring.ok()) {
    context.FailBy(kId, referring.status());
    return;
  }
  std::vector<const Table*> asked;
  for (const Table& table : *referring) {
    if (table.oid != 0 && CanLook(table)) asked.push_back(&table);
  }
  std::optional<std::vector<bool>> have = HaveRows(context, kId, asked);
  if (!have) return;
  std::set<TableName> empty;
  for (size_t i = 0; i < have->size(); ++i) {
    if (!(*have)[i]) empty.insert(asked[i]->name);
  }
  std::vector<std::string> found;
  for (size_t i = 0; i < names.size(); ++i) {
    if (empty.contains(names[i])) continue;
    found.push_back(
        absl::StrCat(QuotedName(names[i]), " (to ", result->Get(static_cast<int>(i), 2), ")"));
  }
  if (found.empty()) {
    context.Pass(kId, kNothing);
  } else {
    context.FailUnlessAccepted(kId,
                               absl::StrCat(Counted(found.size(), "table"),
                                            " with rows that refer to tables which existing: "
                                            "truncate empties: ",
                                            ListNames(found)),
                               {});
  }
}

}  // namespace

void CheckExistingRows(CheckContext& context) {
  CheckRows(context);
  CheckReferringRows(context);
}

}  // namespace towline
