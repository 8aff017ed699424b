// What tables that will be created need of the destination: types and collations of the server
// itself and of extensions, also within types of the user's own, which come with the schema; and
// the extensions' versions.
#include <algorithm>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// Kind (t or c), schema, name, extension (empty: the server's own), and one table that uses it.
constexpr char kUsedSql[] = R"sql(
WITH RECURSIVE used AS (
  SELECT DISTINCT ON (a.atttypid, a.attcollation) a.atttypid, a.attcollation, a.attrelid
  FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY a.atttypid, a.attcollation, a.attrelid
), deep AS (  -- what arrays, domains, composite types and ranges are made of as well
  SELECT atttypid, attcollation, attrelid FROM used
  UNION
  SELECT part.type, part.coll, deep.attrelid
  FROM deep JOIN pg_catalog.pg_type t ON t.oid = deep.atttypid,
  LATERAL (
    SELECT t.typelem, 0::oid WHERE t.typcategory = 'A' AND t.typelem <> 0
    UNION ALL SELECT t.typbasetype, t.typcollation WHERE t.typbasetype <> 0
    UNION ALL SELECT a.atttypid, a.attcollation FROM pg_catalog.pg_attribute a
      WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT r.rngsubtype, r.rngcollation FROM pg_catalog.pg_range r
      WHERE r.rngtypid = t.oid) AS part(type, coll)
), named AS (
  SELECT 't' AS kind, n.nspname, t.typname AS name, t.oid, 'pg_catalog.pg_type'::regclass AS class,
         deep.attrelid
  FROM deep
  JOIN pg_catalog.pg_type t ON t.oid = deep.atttypid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  WHERE t.typcategory <> 'A' OR t.typelem = 0
  UNION ALL
  SELECT 'c', n.nspname, c.collname, c.oid, 'pg_catalog.pg_collation'::regclass, deep.attrelid
  FROM deep
  JOIN pg_catalog.pg_collation c ON c.oid = deep.attcollation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace)
SELECT DISTINCT ON (named.kind, named.nspname, named.name)
       named.kind, named.nspname, named.name, COALESCE(e.extname, ''), named.attrelid::regclass::text
FROM named
LEFT JOIN pg_catalog.pg_depend d
  ON d.classid = named.class AND d.objid = named.oid AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE named.nspname = 'pg_catalog' OR e.oid IS NOT NULL
ORDER BY named.kind, named.nspname, named.name
)sql";

// Of an extension that is not there yet CREATE EXTENSION brings them.
constexpr char kMissingSql[] = R"sql(
SELECT wanted.number
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
  WITH ORDINALITY AS wanted(kind, nspname, name, extension, number)
WHERE (wanted.extension = ''
       OR EXISTS (SELECT 1 FROM pg_catalog.pg_extension e WHERE e.extname = wanted.extension))
  AND NOT CASE wanted.kind
    WHEN 't' THEN EXISTS (SELECT 1 FROM pg_catalog.pg_type t
      JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
      WHERE n.nspname = wanted.nspname AND t.typname = wanted.name)
    ELSE EXISTS (SELECT 1 FROM pg_catalog.pg_collation c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
      JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
      WHERE n.nspname = wanted.nspname AND c.collname = wanted.name
        AND c.collencoding IN (-1, d.encoding)) END
ORDER BY wanted.number
)sql";

void CheckTypes(CheckContext& context) {
  constexpr char kId[] = "destination.types";
  ArrayLiteral created;
  for (size_t i = 0; i < context.existing.size(); ++i) {
    if (context.existing[i].oid == 0) created.Add(absl::StrCat(context.tables[i].oid));
  }
  std::optional<Result> used = context.Ask(kId, *context.source, kUsedSql, {{created.ToString()}});
  if (!used) return;
  ArrayLiteral columns[4];
  for (int row = 0; row < used->row_count(); ++row) {
    for (int i = 0; i < 4; ++i) columns[i].Add(used->Get(row, i));
  }
  std::optional<Result> missing = context.Ask(kId, *context.destination, kMissingSql,
                                              {{columns[0].ToString(), columns[1].ToString(),
                                                columns[2].ToString(), columns[3].ToString()}});
  if (!missing) return;
  std::vector<std::string> names;
  for (int i = 0; i < missing->row_count(); ++i) {
    int row = static_cast<int>(missing->GetInt(i, 0)) - 1;
    std::string extension = used->GetString(row, 3);
    names.push_back(absl::StrCat(used->Get(row, 0) == "t" ? "type " : "collation ",
                                 QuoteQualified(used->Get(row, 1), used->Get(row, 2)),
                                 extension.empty() ? "" : absl::StrCat(" of extension ", extension),
                                 " (used by ", used->Get(row, 4), ")"));
  }
  if (names.empty()) {
    context.Pass(kId, "the destination has every type and collation");
  } else {
    context.Fail(kId, absl::StrCat("missing at the destination: ", ListNames(names, 10)), {});
  }
}

// Numbers between dots; nothing can be said of other versions.
std::optional<bool> IsOlder(const std::string& a, const std::string& b) {
  std::vector<absl::string_view> left = absl::StrSplit(a, '.');
  std::vector<absl::string_view> right = absl::StrSplit(b, '.');
  for (size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    int x = 0;
    int y = 0;
    if (i < left.size() && !absl::SimpleAtoi(left[i], &x)) return std::nullopt;
    if (i < right.size() && !absl::SimpleAtoi(right[i], &y)) return std::nullopt;
    if (x != y) return x < y;
  }
  return false;
}

void CheckExtensionVersions(CheckContext& context) {
  constexpr char kId[] = "destination.extension_versions";
  std::optional<Result> used =
      context.Ask(kId, *context.source,
                  "SELECT extname, extversion FROM pg_catalog.pg_extension WHERE extname NOT IN "
                  "('plpgsql', 'towline') ORDER BY extname");
  if (!used) return;
  ArrayLiteral wanted;
  std::map<std::string, std::string> versions;
  for (int row = 0; row < used->row_count(); ++row) {
    wanted.Add(used->Get(row, 0));
    versions[used->GetString(row, 0)] = used->GetString(row, 1);
  }
  std::optional<Result> there = context.Ask(
      kId, *context.destination,
      "SELECT name, COALESCE(installed_version, ''), COALESCE(default_version, '') FROM "
      "pg_catalog.pg_available_extensions WHERE name = ANY ($1::text[]) ORDER BY name",
      {{wanted.ToString()}});
  if (!there) return;
  std::vector<std::string> older;
  std::vector<std::string> statements;
  for (int row = 0; row < there->row_count(); ++row) {
    std::string name = there->GetString(row, 0);
    std::string installed = there->GetString(row, 1);
    std::string available = there->GetString(row, 2);
    const std::string& version = versions[name];
    std::string will_be = installed.empty() ? available : installed;
    if (!IsOlder(will_be, version).value_or(false)) continue;
    older.push_back(absl::StrCat(name, " ", will_be, " instead of ", version));
    if (!installed.empty() && !IsOlder(available, version).value_or(true)) {
      statements.push_back(absl::StrCat("ALTER EXTENSION ", QuoteIdentifier(name), " UPDATE;"));
    }
  }
  context.WarnOf(kId, older, "extension", "older at the destination",
                 "no extension is older at the destination",
                 {.statement = absl::StrJoin(statements, "\n")});
}

}  // namespace

void CheckDestinationTypes(CheckContext& context) {
  CheckTypes(context);
  CheckExtensionVersions(context);
}

}  // namespace towline
