#include <algorithm>
#include <iterator>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "apply/target.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/catalog_reader.h"

namespace towline {
namespace {

// Our search_path is empty, so "=" alone finds operators of pg_catalog only. Types of extensions
// (citext, ltree, ...) and domains over them bring their own: the one of their default operator
// class is meant. 403 and 405 are btree and hash (pg_am.dat), 3 and 1 their equality strategies.
constexpr char kEqualsSql[] = R"(
WITH RECURSIVE base(type, oid) AS (
  SELECT t.oid, t.oid FROM pg_catalog.pg_type t WHERE t.oid = ANY ($1::pg_catalog.oid[])
  UNION ALL
  SELECT b.type, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid
  WHERE t.typtype = 'd')
SELECT DISTINCT ON (b.type) b.type, n.nspname, o.oprname
FROM base b
JOIN pg_catalog.pg_opclass c ON c.opcintype = b.oid AND c.opcdefault AND c.opcmethod IN (403, 405)
JOIN pg_catalog.pg_amop a ON a.amopfamily = c.opcfamily AND a.amoplefttype = b.oid
  AND a.amoprighttype = b.oid AND a.amopstrategy = CASE c.opcmethod WHEN 403 THEN 3 ELSE 1 END
JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
WHERE n.nspname <> 'pg_catalog'
ORDER BY b.type, c.opcmethod)";

constexpr char kForeignTriggersSql[] =
    "SELECT k.oid FROM unnest($1::pg_catalog.oid[]) AS k(oid) "
    "WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t "
    "JOIN pg_catalog.pg_constraint o ON o.oid = t.tgconstraint AND o.contype = 'f' "
    "WHERE t.tgenabled IN ('A', 'R') AND (t.tgrelid = k.oid OR t.tgrelid IN ("
    "SELECT p.relid FROM pg_catalog.pg_partition_tree(k.oid) p)))";

constexpr char kGenerationSql[] =
    "SELECT a.attrelid, a.attname, pg_catalog.pg_get_expr(d.adbin, d.adrelid) "
    "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d "
    "ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
    "WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attgenerated <> '' AND NOT a.attisdropped";

// Without composites, and domains that may be over one: unnest() makes several columns of those.
constexpr char kArraysSql[] =
    "SELECT t.oid, t.typarray, t.typdelim FROM pg_catalog.pg_type t "
    "LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype "
    "WHERE t.oid = ANY ($1::pg_catalog.oid[]) AND t.typarray <> 0 AND t.typtype <> 'c' "
    "AND (b.typtype IS NULL OR b.typtype NOT IN ('c', 'd'))";

Oid GetOid(const Result& result, int row, int column) {
  Oid oid = 0;
  return absl::SimpleAtoi(result.Get(row, column), &oid) ? oid : 0;
}

absl::StatusOr<TargetCatalog> ReadCatalog(Connection& connection,
                                          absl::Span<const Relation* const> relations,
                                          const std::vector<Table>& tables,
                                          const DomainBases& domains) {
  constexpr Oid kFirstUserOid = 16384;  // FirstNormalObjectId: built-in types lie below
  std::vector<Oid> tables_oids;
  std::vector<Oid> types;
  absl::flat_hash_set<Oid> all_types;  // that values may be read as, at this server
  for (const Relation* relation : relations) {
    for (const Column& column : relation->columns) {
      if (column.type_oid < kFirstUserOid) all_types.insert(column.type_oid);
      auto domain = domains.find(column.type_oid);
      if (column.type_kind == 'd' && domain != domains.end()) all_types.insert(domain->second.oid);
    }
  }
  for (const Table& table : tables) {
    tables_oids.push_back(table.oid);
    for (const TableColumn& column : table.columns) {
      all_types.insert(column.type_oid);
      if (column.type_oid >= kFirstUserOid) types.push_back(column.type_oid);
    }
  }
  auto array = [](const auto& oids) {
    return Param(absl::StrCat("{", absl::StrJoin(oids, ","), "}"));
  };
  TargetCatalog catalog;
  TOWLINE_ASSIGN_OR_RETURN(Result foreign,
                           connection.Query(kForeignTriggersSql, {array(tables_oids)}));
  for (int row = 0; row < foreign.row_count(); ++row) {
    catalog.has_foreign_triggers.insert(GetOid(foreign, row, 0));
  }
  TOWLINE_ASSIGN_OR_RETURN(Result arrays, connection.Query(kArraysSql, {array(all_types)}));
  for (int row = 0; row < arrays.row_count(); ++row) {
    catalog.arrays[GetOid(arrays, row, 0)] = {GetOid(arrays, row, 1), arrays.Get(row, 2)[0]};
  }
  TOWLINE_ASSIGN_OR_RETURN(Result generated,
                           connection.Query(kGenerationSql, {array(tables_oids)}));
  for (int row = 0; row < generated.row_count(); ++row) {
    catalog.generation[{GetOid(generated, row, 0), generated.GetString(row, 1)}] =
        generated.GetString(row, 2);
  }
  if (types.empty()) return catalog;
  TOWLINE_ASSIGN_OR_RETURN(Result equals, connection.Query(kEqualsSql, {array(types)}));
  for (int row = 0; row < equals.row_count(); ++row) {
    catalog.equals[GetOid(equals, row, 0)] = absl::StrCat(
        "OPERATOR(", QuoteIdentifier(equals.Get(row, 1)), ".", equals.Get(row, 2), ")");
  }
  return catalog;
}

bool MaySkip(const ConflictPolicies& policies, const TableName& table,
             const std::vector<TableName>& ancestors) {
  return std::any_of(
      std::begin(kConflictFacts), std::end(kConflictFacts), [&](const ConflictFacts& facts) {
        return ActionFor(policies, table, ancestors, facts.kind) == ConflictAction::kSkip;
      });
}

}  // namespace

absl::StatusOr<std::vector<Target>> ReadTargets(Connection& connection, const std::string& task,
                                                absl::Span<const Relation* const> relations,
                                                const TargetPolicies& policies) {
  std::vector<TableName> names;
  for (const Relation* relation : relations) names.push_back(relation->name);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTablesByName(connection, names));
  TOWLINE_ASSIGN_OR_RETURN(TargetCatalog catalog,
                           ReadCatalog(connection, relations, tables, policies.domains));
  catalog.domains = policies.domains;
  TOWLINE_ASSIGN_OR_RETURN(catalog.copied, ReadColumnTypes(connection, task));
  std::vector<Target> targets;
  for (size_t i = 0; i < relations.size(); ++i) {
    const std::vector<TableName>& append = policies.append_tables;
    const TableRule* rule = FindRule(policies.rules, names[i], tables[i].ancestors);
    const RuleOperations wanted = rule == nullptr ? RuleOperations() : rule->operations;
    bool overwrites = std::find(append.begin(), append.end(), names[i]) != append.end() ||
                      !wanted.has_update || !wanted.has_delete || !wanted.has_truncate;
    TOWLINE_ASSIGN_OR_RETURN(
        Target target, MakeTarget(*relations[i], tables[i], catalog, overwrites,
                                  MayFold(policies.folds, names[i], tables[i].ancestors), rule));
    target.may_miss = !wanted.has_insert || !wanted.has_update;
    target.can_fold = target.can_fold && !target.may_miss;
    target.may_differ = MaySkip(policies.conflicts, names[i], tables[i].ancestors);
    targets.push_back(std::move(target));
  }
  return targets;
}

}  // namespace towline
