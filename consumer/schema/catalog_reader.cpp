#include "schema/catalog_reader.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"
#include "schema/table_patterns.h"
#include "schema/type_catalog.h"

namespace towline {
namespace {

// Which tables a task may mean at all. What belongs to an extension is the extension's business at
// both ends.
constexpr char kUserTables[] = R"sql(
  SELECT c.oid, n.nspname, c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state')
    AND (NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                     WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                       AND d.deptype = 'e')$extension_tables)
)sql";

// A partition is named by its own name or by that of any table above it: who names a partitioned
// table means its rows, and those lie in the partitions.
constexpr char kMatchesSql[] = R"sql(
WITH user_table AS MATERIALIZED ($tables),
named AS MATERIALIZED (
  SELECT u.oid, n.nspname, c.relname
  FROM user_table u
  CROSS JOIN LATERAL (SELECT u.oid AS relid
                      UNION SELECT a.relid FROM pg_catalog.pg_partition_ancestors(u.oid) a) above
  JOIN pg_catalog.pg_class c ON c.oid = above.relid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)
SELECT DISTINCT p.number, named.oid
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p(schema_regex, name_regex, number)
LEFT JOIN named ON named.nspname COLLATE pg_catalog."default" ~ p.schema_regex
               AND named.relname COLLATE pg_catalog."default" ~ p.name_regex
)sql";

// Looking at a table's size waits for whoever has locked it; $2: sizes are wanted. Only what holds
// rows is looked at, as pg_table_size() asks for eight files of each table, which with thousands of
// tables takes longer than all else here.
constexpr char kTablesSql[] = R"sql(
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relispartition,
       COALESCE(pg_catalog.pg_partition_root(c.oid)::oid, c.oid), c.relreplident,
       EXISTS (SELECT 1 FROM pg_catalog.pg_trigger t
               WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R'))
         OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite r
                    WHERE r.ev_class = c.oid AND r.ev_enabled IN ('A', 'R'))
         OR c.relkind = 'p' AND EXISTS (
              SELECT 1 FROM pg_catalog.pg_partition_tree(c.oid) p
              JOIN pg_catalog.pg_trigger t ON t.tgrelid = p.relid
              WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')),
       pg_catalog.row_security_active(c.oid),
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
         AND pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       size.heap, size.heap + CASE WHEN size.heap > 0 AND c.reltoastrelid <> 0
         THEN COALESCE(pg_catalog.pg_relation_size(c.reltoastrelid), 0) ELSE 0 END,
       size.heap / pg_catalog.current_setting('block_size')::bigint, c.reltuples::bigint
FROM pg_catalog.unnest($1::oid[]) WITH ORDINALITY AS wanted(oid, number)
JOIN pg_catalog.pg_class c ON c.oid = wanted.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT CASE WHEN $2::boolean AND c.relkind = 'r'
                             THEN COALESCE(pg_catalog.pg_relation_size(c.oid), 0)
                             ELSE 0 END AS heap) size
ORDER BY wanted.number
)sql";

constexpr char kColumnsSql[] = R"sql(
SELECT a.attrelid, a.attname, a.attnum, t.oid, t.typrelid, n.nspname, t.typname,
       pg_catalog.format_type(a.atttypid, a.atttypmod), t.typtype, a.atttypmod, a.attnotnull,
       a.atthasdef OR a.attidentity <> '', a.attgenerated, a.attidentity,
       a.attlen = -1 AND a.attstorage <> 'p'
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
)sql";

constexpr char kAncestorsSql[] = R"sql(
SELECT c.oid, n.nspname, a.relname
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY AS above(relid, number)
JOIN pg_catalog.pg_class a ON a.oid = above.relid
JOIN pg_catalog.pg_namespace n ON n.oid = a.relnamespace
WHERE c.oid = ANY ($1::oid[]) AND c.relispartition AND above.relid <> c.oid
ORDER BY c.oid, above.number
)sql";

// An index is told from another by what the catalogs store of it: pg_get_indexdef() waits for
// whoever has locked the table. indnullsnotdistinct came with version 15.
constexpr char kIndexesSql[] = R"sql(
SELECT i.indrelid, ic.relname, i.indisprimary, i.indisreplident, NOT i.indimmediate,
       i.indpred IS NOT NULL, COALESCE(a.attname, ''), COALESCE(a.attnotnull, false), k.position,
       CASE WHEN k.position > 1 THEN '' ELSE pg_catalog.md5(pg_catalog.concat_ws(
         '/', i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text,
         i.indexprs::text, i.indpred::text, pg_catalog.to_jsonb(i) ->> 'indnullsnotdistinct',
         x.conexclop::text)) END, x.oid IS NOT NULL
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint x ON x.conindid = i.indexrelid AND x.contype = 'x'
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
LEFT JOIN pg_catalog.pg_attribute a
  ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum <> 0
WHERE i.indrelid = ANY ($1::oid[]) AND (i.indisunique OR i.indisexclusion)
  AND i.indisvalid AND i.indislive
  AND k.position <= i.indnkeyatts
ORDER BY i.indrelid, i.indisprimary DESC, ic.relname, k.position
)sql";

std::string UserTablesSql(const TableSelection& selection) {
  std::string names;
  for (const TableName& name : selection.extension_tables) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", "(", QuoteLiteral(name.schema), ", ",
                    QuoteLiteral(name.name), ")");
  }
  if (!names.empty()) names = absl::StrCat(" OR (n.nspname, c.relname) IN (", names, ")");
  return absl::StrReplaceAll(kUserTables, {{"$extension_tables", names}});
}

char FirstChar(const Result& result, int row, int column) {
  absl::string_view text = result.Get(row, column);
  return text.empty() ? '\0' : text[0];
}

Oid GetOid(const Result& result, int row, int column) {
  return static_cast<Oid>(result.GetInt(row, column));
}

ReplicaIdentity ParseReplicaIdentity(char code) {
  switch (code) {
    case 'n':
      return ReplicaIdentity::kNothing;
    case 'f':
      return ReplicaIdentity::kFull;
    case 'i':
      return ReplicaIdentity::kIndex;
    default:
      return ReplicaIdentity::kDefault;
  }
}

Table ReadTableRow(const Result& result, int row) {
  Table table;
  table.oid = GetOid(result, row, 0);
  table.name = {result.GetString(row, 1), result.GetString(row, 2)};
  table.kind = FirstChar(result, row, 3);
  table.persistence = FirstChar(result, row, 4);
  table.is_partition = result.GetBool(row, 5);
  table.root_oid = GetOid(result, row, 6);
  table.replica_identity = ParseReplicaIdentity(FirstChar(result, row, 7));
  table.has_always_triggers = result.GetBool(row, 8);
  table.has_row_security = result.GetBool(row, 9);
  table.can_select = result.GetBool(row, 10);
  table.heap_bytes = result.GetInt(row, 11);
  table.total_bytes = result.GetInt(row, 12);
  table.page_count = result.GetInt(row, 13);
  table.estimated_rows = result.GetInt(row, 14);
  return table;
}

TableColumn ReadColumnRow(const Result& result, int row, const TypeCatalog& types) {
  TableColumn column;
  column.name = result.GetString(row, 1);
  column.attnum = static_cast<int>(result.GetInt(row, 2));
  column.type_oid = GetOid(result, row, 3);
  column.base_type_oid = BaseTypeOf(types, column.type_oid);
  column.base = DomainBaseOf(types, column.type_oid);
  column.type_relid = GetOid(result, row, 4);
  column.type_schema = result.GetString(row, 5);
  column.type_name = result.GetString(row, 6);
  column.type_text = result.GetString(row, 7);
  column.type_kind = FirstChar(result, row, 8);
  column.typmod = static_cast<int32_t>(result.GetInt(row, 9));
  column.is_not_null = result.GetBool(row, 10);
  column.has_default = result.GetBool(row, 11);
  column.generated = FirstChar(result, row, 12);
  column.identity = FirstChar(result, row, 13);
  column.is_toastable = result.GetBool(row, 14);
  column.is_portable_binary = IsPortableBinary(types, column.type_oid);
  column.has_equality = HasEquality(types, column.type_oid);
  return column;
}

void AddIndexRow(const Result& result, int row, Table* table) {
  const bool is_first = result.GetInt(row, 8) == 1;
  if (result.GetBool(row, 10)) {
    if (is_first) table->exclusions.push_back({result.GetString(row, 1), result.GetString(row, 9)});
    return;
  }
  if (is_first) {
    UniqueIndex index;
    index.name = result.GetString(row, 1);
    index.is_primary = result.GetBool(row, 2);
    index.is_replica_identity = result.GetBool(row, 3);
    index.is_deferrable = result.GetBool(row, 4);
    index.is_partial = result.GetBool(row, 5);
    index.is_null_free = true;
    index.definition = result.GetString(row, 9);
    table->unique_indexes.push_back(std::move(index));
  }
  UniqueIndex& index = table->unique_indexes.back();
  index.columns.push_back(result.GetString(row, 6));
  index.is_null_free = index.is_null_free && result.GetBool(row, 7);
}

// For each pattern the oids it matches.
absl::StatusOr<std::vector<std::vector<Oid>>> MatchPatterns(
    Connection& connection, const std::string& tables_sql,
    const std::vector<std::string>& patterns) {
  std::vector<std::vector<Oid>> matches(patterns.size());
  if (patterns.empty()) return matches;
  ArrayLiteral schemas;
  ArrayLiteral names;
  for (const std::string& text : patterns) {
    TOWLINE_ASSIGN_OR_RETURN(TablePattern pattern, ParseTablePattern(text));
    schemas.Add(pattern.schema_regex);
    names.Add(pattern.name_regex);
  }
  const std::string kPlaceholder = "$tables";
  std::string sql = kMatchesSql;
  sql.replace(sql.find(kPlaceholder), kPlaceholder.size(), tables_sql);
  absl::StatusOr<Result> result = connection.Query(sql, {{schemas.ToString(), names.ToString()}});
  if (!result.ok() && GetSqlState(result.status()) == "2201B") {
    return WithHint(WithCode(WithContext(result.status(), "invalid table pattern"),
                             absl::StatusCode::kInvalidArgument),
                    "Outside double quotes a pattern is a regular expression; quote names that "
                    "hold ( ) [ ] { } + | ^ or a backslash.");
  }
  TOWLINE_RETURN_IF_ERROR(result.status());
  for (int row = 0; row < result->row_count(); ++row) {
    if (result->IsNull(row, 1)) continue;
    size_t number = static_cast<size_t>(result->GetInt(row, 0)) - 1;
    matches[number].push_back(GetOid(*result, row, 1));
  }
  return matches;
}

// A table that was excluded and has been dropped since is no reason to stop a running task.
absl::Status CheckMatches(const TableSelection& selection,
                          const std::vector<std::vector<Oid>>& included,
                          const std::vector<std::vector<Oid>>& excluded) {
  for (size_t i = 0; i < included.size(); ++i) {
    if (!included[i].empty()) continue;
    return WithHint(absl::InvalidArgumentError(
                        absl::StrCat("no table matches the pattern ", selection.include[i])),
                    "Check the name; names with capitals must stand in double quotes.");
  }
  for (size_t i = 0; i < excluded.size(); ++i) {
    if (!excluded[i].empty()) continue;
    LogWarning("no table matches an exclude pattern", {{"pattern", selection.exclude[i]}});
  }
  return absl::OkStatus();
}

std::set<Oid> AllOf(const std::vector<std::vector<Oid>>& matches) {
  std::set<Oid> all;
  for (const std::vector<Oid>& of_pattern : matches)
    all.insert(of_pattern.begin(), of_pattern.end());
  return all;
}

absl::StatusOr<std::vector<ListedTable>> List(Connection& connection,
                                              const TableSelection& selection, bool is_strict) {
  const std::string tables_sql = UserTablesSql(selection);
  TOWLINE_ASSIGN_OR_RETURN(auto included, MatchPatterns(connection, tables_sql, selection.include));
  TOWLINE_ASSIGN_OR_RETURN(auto excluded, MatchPatterns(connection, tables_sql, selection.exclude));
  if (is_strict) TOWLINE_RETURN_IF_ERROR(CheckMatches(selection, included, excluded));
  const std::set<Oid> wanted = AllOf(included);
  const std::set<Oid> left_out = AllOf(excluded);
  TOWLINE_ASSIGN_OR_RETURN(
      Result all, connection.Query(absl::StrCat(tables_sql, " ORDER BY n.nspname, c.relname")));
  std::vector<ListedTable> tables;
  for (int row = 0; row < all.row_count(); ++row) {
    ListedTable table;
    table.oid = GetOid(all, row, 0);
    table.name = {all.GetString(row, 1), all.GetString(row, 2)};
    table.is_excluded = left_out.contains(table.oid);
    table.is_selected =
        !table.is_excluded && (selection.include.empty() || wanted.contains(table.oid));
    tables.push_back(std::move(table));
  }
  return tables;
}

}  // namespace

absl::StatusOr<std::vector<Table>> ReadTablesByOid(Connection& connection,
                                                   const std::vector<Oid>& oids, bool has_sizes) {
  std::vector<Table> tables;
  if (oids.empty()) return tables;
  std::vector<Param> params = {absl::StrCat("{", absl::StrJoin(oids, ","), "}")};
  TOWLINE_ASSIGN_OR_RETURN(TypeCatalog types, ReadTypeCatalog(connection));
  TOWLINE_ASSIGN_OR_RETURN(Result found,
                           connection.Query(kTablesSql, {params[0], has_sizes ? "t" : "f"}));
  std::map<Oid, size_t> places;
  for (int row = 0; row < found.row_count(); ++row) {
    tables.push_back(ReadTableRow(found, row));
    places[tables.back().oid] = tables.size() - 1;
  }
  TOWLINE_ASSIGN_OR_RETURN(Result columns, connection.Query(kColumnsSql, params));
  for (int row = 0; row < columns.row_count(); ++row) {
    auto place = places.find(GetOid(columns, row, 0));
    if (place == places.end()) continue;
    tables[place->second].columns.push_back(ReadColumnRow(columns, row, types));
  }
  TOWLINE_ASSIGN_OR_RETURN(Result ancestors, connection.Query(kAncestorsSql, params));
  for (int row = 0; row < ancestors.row_count(); ++row) {
    auto place = places.find(GetOid(ancestors, row, 0));
    if (place == places.end()) continue;
    tables[place->second].ancestors.push_back(
        {ancestors.GetString(row, 1), ancestors.GetString(row, 2)});
  }
  TOWLINE_ASSIGN_OR_RETURN(Result indexes, connection.Query(kIndexesSql, params));
  for (int row = 0; row < indexes.row_count(); ++row) {
    auto place = places.find(GetOid(indexes, row, 0));
    if (place != places.end()) AddIndexRow(indexes, row, &tables[place->second]);
  }
  return tables;
}

absl::StatusOr<std::vector<ListedTable>> ListTables(Connection& connection,
                                                    const TableSelection& selection) {
  return List(connection, selection, /*is_strict=*/false);
}

absl::StatusOr<std::vector<Table>> ReadTables(Connection& connection,
                                              const TableSelection& selection) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<ListedTable> listed,
                           List(connection, selection, /*is_strict=*/true));
  std::vector<Oid> oids;
  for (const ListedTable& table : listed) {
    if (table.is_selected) oids.push_back(table.oid);
  }
  return ReadTablesByOid(connection, oids, /*has_sizes=*/true);
}

absl::StatusOr<std::vector<Table>> ReadTablesByName(Connection& connection,
                                                    const std::vector<TableName>& names,
                                                    bool has_sizes) {
  std::vector<Table> tables(names.size());
  for (size_t i = 0; i < names.size(); ++i) tables[i].name = names[i];
  if (names.empty()) return tables;
  ArrayLiteral schemas;
  ArrayLiteral relations;
  for (const TableName& name : names) {
    schemas.Add(name.schema);
    relations.Add(name.name);
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      connection.Query(
          "SELECT wanted.number, c.oid FROM unnest($1::text[], $2::text[]) "
          "WITH ORDINALITY AS wanted(nspname, relname, number) "
          "JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.nspname "
          "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.relname "
          "WHERE c.relkind IN ('r', 'p') ORDER BY wanted.number",
          {{schemas.ToString(), relations.ToString()}}));
  // A name may be asked for several times: a batch may hold several descriptions of one table.
  std::vector<Oid> oids;
  std::map<Oid, std::vector<size_t>> places;
  for (int row = 0; row < result.row_count(); ++row) {
    Oid oid = GetOid(result, row, 1);
    std::vector<size_t>& places_of_table = places[oid];
    if (places_of_table.empty()) oids.push_back(oid);
    places_of_table.push_back(static_cast<size_t>(result.GetInt(row, 0)) - 1);
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> found, ReadTablesByOid(connection, oids, has_sizes));
  for (const Table& table : found) {
    for (size_t place : places[table.oid]) tables[place] = table;
  }
  return tables;
}

}  // namespace towline
