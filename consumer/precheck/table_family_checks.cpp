// Selected tables and the tables that they belong with: partitions, inheritance, foreign keys; and
// how their rows are told apart.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "precheck/check_context.h"
#include "schema/catalog_reader.h"
#include "schema/excluded_objects.h"

namespace towline {
namespace {

// A parent and its child of which one is selected and the other is not.
struct CutFamily {
  TableName parent;
  TableName child;
  bool is_partition = false;
  bool has_child = false;  // selected
};

std::optional<std::vector<CutFamily>> ReadCutFamilies(CheckContext& context, const char* id) {
  std::optional<Result> result = context.Ask(
      id, *context.source,
      "WITH selected AS MATERIALIZED (SELECT pg_catalog.unnest($1::oid[]) AS oid) "
      "SELECT pn.nspname, p.relname, cn.nspname, c.relname, c.relispartition, cs.oid IS NOT NULL "
      "FROM pg_catalog.pg_inherits i "
      "JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind IN ('r', 'p') "
      "JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace "
      "JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p') "
      "JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace "
      "LEFT JOIN selected ps ON ps.oid = p.oid LEFT JOIN selected cs ON cs.oid = c.oid "
      "WHERE (ps.oid IS NULL) <> (cs.oid IS NULL) ORDER BY 1, 2, 3, 4",
      {{OidsOf(context.tables)}});
  if (!result) return std::nullopt;
  std::vector<CutFamily> families;
  for (int row = 0; row < result->row_count(); ++row) {
    families.push_back({{result->GetString(row, 0), result->GetString(row, 1)},
                        {result->GetString(row, 2), result->GetString(row, 3)},
                        result->GetBool(row, 4),
                        result->GetBool(row, 5)});
  }
  return families;
}

std::string Described(const CutFamily& family) {
  return family.has_child
             ? absl::StrCat(QuotedName(family.child), " without ", QuotedName(family.parent))
             : absl::StrCat(QuotedName(family.parent), " without ", QuotedName(family.child));
}

// CREATE TABLE ... INHERITS needs the parent, unless the child is there already.
std::vector<std::string> Orphans(CheckContext& context, const std::vector<CutFamily>& families) {
  std::vector<TableName> asked;
  std::vector<const CutFamily*> candidates;
  for (const CutFamily& family : families) {
    if (family.is_partition || !family.has_child) continue;
    asked.push_back(family.parent);
    asked.push_back(family.child);
    candidates.push_back(&family);
  }
  std::vector<std::string> orphans;
  if (candidates.empty() || !context.destination || !context.options.is_first_start) return orphans;
  absl::StatusOr<std::vector<Table>> there = ReadTablesByName(*context.destination, asked);
  if (!there.ok()) {
    context.FailBy("source.inheritance", there.status());
    return orphans;
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    if ((*there)[2 * i].oid == 0 && (*there)[2 * i + 1].oid == 0) {
      orphans.push_back(Described(*candidates[i]));
    }
  }
  return orphans;
}

void CheckFamilies(CheckContext& context) {
  constexpr char kPartitions[] = "source.partition_families";
  constexpr char kInheritance[] = "source.inheritance";
  std::optional<std::vector<CutFamily>> families = ReadCutFamilies(context, kPartitions);
  if (!families) return;
  std::vector<std::string> partitions;
  std::vector<std::string> children;
  for (const CutFamily& family : *families) {
    (family.is_partition ? partitions : children).push_back(Described(family));
  }
  context.WarnOf(kPartitions, partitions, "partition", "cut off from its family",
                 "no partition is selected without its parent, or left out of it", {});
  std::vector<std::string> orphans = Orphans(context, *families);
  if (!orphans.empty()) {
    context.Fail(kInheritance,
                 absl::StrCat(Counted(orphans.size(), "table"),
                              " whose parent will not be at the destination: ", ListNames(orphans)),
                 {.text = "Select the parent as well, or create it (or the child, without "
                          "INHERITS) at the destination first."});
    return;
  }
  context.WarnOf(kInheritance, children, "parent and child", "cut apart",
                 "no table is selected without those that it inherits from", {});
}

// Of what stays behind: what a reader of the selected tables would miss.
constexpr char kLeftOutSql[] = R"sql(
SELECT true, k.conname, n.nspname, c.relname, rn.nspname, r.relname
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
WHERE k.oid = ANY ($1::oid[]) AND k.contype = 'f' AND k.conparentid = 0 AND k.conrelid <> ALL ($2::oid[])
UNION ALL
SELECT false, '', n.nspname, c.relname, '', ''
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($2::oid[]) AND c.relkind IN ('v', 'm')
ORDER BY 1 DESC, 3, 4, 2
)sql";

void CheckForeignKeys(CheckContext& context) {
  constexpr char kId[] = "source.foreign_keys";
  constexpr Oid kConstraintClass = 2606;  // of pg_constraint, pg_class
  constexpr Oid kRelationClass = 1259;
  absl::StatusOr<ExcludedObjects> left_out = ReadExcludedObjects(*context.source, context.tables);
  if (!left_out.ok()) {
    context.FailBy(kId, left_out.status());
    return;
  }
  std::vector<Oid> constraints;
  std::vector<Oid> relations;
  for (const ObjectId& object : left_out->objects) {
    if (object.class_oid == kConstraintClass) constraints.push_back(object.oid);
    if (object.class_oid == kRelationClass) relations.push_back(object.oid);
  }
  std::optional<Result> result =
      context.Ask(kId, *context.source, kLeftOutSql,
                  {{absl::StrCat("{", absl::StrJoin(constraints, ","), "}"),
                    absl::StrCat("{", absl::StrJoin(relations, ","), "}")}});
  if (!result) return;
  std::vector<std::string> keys;
  std::vector<std::string> views;
  for (int row = 0; row < result->row_count(); ++row) {
    std::string name = QuotedName({result->GetString(row, 2), result->GetString(row, 3)});
    if (!result->GetBool(row, 0)) {
      views.push_back(std::move(name));
      continue;
    }
    keys.push_back(
        absl::StrCat(result->Get(row, 1), " of ", name, " to ",
                     QuotedName({result->GetString(row, 4), result->GetString(row, 5)})));
  }
  std::vector<std::string> found;
  if (!keys.empty()) {
    found.push_back(absl::StrCat(Counted(keys.size(), "foreign key"), " (", ListNames(keys), ")"));
  }
  if (!views.empty()) {
    found.push_back(absl::StrCat(Counted(views.size(), "view"), " (", ListNames(views), ")"));
  }
  if (found.empty()) {
    context.Pass(kId, "nothing hangs on tables that are not selected");
    return;
  }
  context.Warn(kId, absl::StrCat("left out: ", absl::StrJoin(found, ", ")), {});
}

// Under FULL a key of the destination finds the row; without one the columns do, and those without
// equality only by comparing every row's bytes.
void CheckFullIdentity(CheckContext& context) {
  constexpr char kId[] = "source.full_identity";
  std::vector<std::string> names;
  for (const Table& table : context.tables) {
    if (table.kind == 'p' || table.replica_identity != ReplicaIdentity::kFull) continue;
    bool has_key = std::any_of(
        table.unique_indexes.begin(), table.unique_indexes.end(), [](const UniqueIndex& index) {
          return !index.is_partial && !index.is_deferrable && index.is_null_free;
        });
    if (has_key) continue;
    std::vector<std::string> columns;
    for (const TableColumn& column : table.columns) {
      if (!column.has_equality) columns.push_back(absl::StrCat(column.name, " ", column.type_text));
    }
    if (columns.empty()) continue;
    names.push_back(absl::StrCat(QuotedName(table.name), " (", absl::StrJoin(columns, ", "), ")"));
  }
  context.WarnOf(kId, names, "table", "under REPLICA IDENTITY FULL with columns without equality",
                 "rows of every table can be found by key or by equality", {});
}

}  // namespace

void CheckTableFamilies(CheckContext& context) {
  CheckFamilies(context);
  CheckForeignKeys(context);
  CheckFullIdentity(context);
}

}  // namespace towline
