#include "snapshot/value_types.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace towline {
namespace {

constexpr char kOfEnum[] = "enum ";

// Multiranges came with version 14.
constexpr char kTypesSql[] = R"sql(
WITH RECURSIVE used(oid) AS (
  SELECT a.atttypid FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION
  SELECT part.oid FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
  CROSS JOIN LATERAL (
    SELECT t.typbasetype
    UNION ALL SELECT t.typelem
    UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
      WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r
      WHERE r.rngtypid = t.oid
         OR pg_catalog.to_jsonb(r) ->> 'rngmultitypid' = t.oid::pg_catalog.text) part(oid)
  WHERE part.oid <> 0)
SELECT pg_catalog.concat_ws(' ', 'table', c.oid, pg_catalog.quote_ident(n.nspname),
                            pg_catalog.quote_ident(c.relname))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = $1::bigint::oid
UNION ALL
SELECT pg_catalog.concat_ws(' ', 'type', t.oid, pg_catalog.quote_ident(n.nspname),
                            pg_catalog.quote_ident(t.typname))
FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
UNION ALL
SELECT pg_catalog.concat_ws(' ', 'enum', e.oid, e.enumlabel)
FROM used u JOIN pg_catalog.pg_enum e ON e.enumtypid = u.oid
UNION ALL
SELECT pg_catalog.concat_ws(' ', 'attribute', a.attrelid, a.attnum, a.attisdropped, a.atttypid,
                            a.atttypmod)
FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
WHERE t.typrelid <> 0 AND a.attnum > 0
)sql";

}  // namespace

absl::StatusOr<ValueTypes> ReadValueTypes(Connection& session, Oid table) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows, session.Query(kTypesSql, {{absl::StrCat(table)}}));
  ValueTypes types;
  for (int row = 0; row < rows.row_count(); ++row) types.insert(rows.GetString(row, 0));
  return types;
}

bool MeanTheSame(const ValueTypes& before, const ValueTypes& after) {
  return std::all_of(before.begin(), before.end(),
                     [&](const std::string& fact) { return after.contains(fact); }) &&
         std::all_of(after.begin(), after.end(), [&](const std::string& fact) {
           return before.contains(fact) || absl::StartsWith(fact, kOfEnum);
         });
}

}  // namespace towline
