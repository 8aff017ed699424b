#include "schema/type_catalog.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// A composite type is a column type like any other; the row type of a table is left out unless a
// column has it, which the union brings back. int2vector and oidvector have elements but are no
// arrays (their element's typarray is another type) and have send functions of their own.
// pg_range.rngmultitypid came with PostgreSQL 14.
constexpr char kTypesSql[] = R"sql(
SELECT t.oid, t.typname, t.typnamespace = 'pg_catalog'::regnamespace, t.typtype,
       COALESCE(e.typarray = t.oid, false), t.typelem, t.typbasetype,
       COALESCE(r.rngsubtype, $multirange, 0),
       COALESCE((SELECT pg_catalog.string_agg(a.atttypid::text, ',' ORDER BY a.attnum)
                 FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0
                   AND NOT a.attisdropped), ''),
       t.typsend <> 0 AND t.typreceive <> 0,
       EXISTS (SELECT 1 FROM pg_catalog.pg_opclass o
               WHERE o.opcdefault AND o.opcmethod IN (403, 405)
                 AND (o.opcintype = t.oid
                      OR EXISTS (SELECT 1 FROM pg_catalog.pg_cast c
                                 WHERE c.castsource = t.oid AND c.casttarget = o.opcintype
                                   AND c.castmethod = 'b' AND c.castcontext = 'i'))),
       n.nspname, t.typtypmod, CASE WHEN t.typtype = 'd' THEN
         pg_catalog.format_type(t.typbasetype, t.typtypmod) ELSE '' END
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typelem <> 0
LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
LEFT JOIN pg_catalog.pg_class rel ON rel.oid = COALESCE(NULLIF(t.typrelid, 0), e.typrelid)
WHERE t.typtype <> 'p'
  AND (rel.oid IS NULL OR rel.relkind = 'c'
       OR t.oid IN (SELECT atttypid FROM pg_catalog.pg_attribute WHERE attnum > 0))
)sql";

// xml_send writes the encoding's name into the value, which for SQL_ASCII the destination would
// keep.
bool IsBoundToEncoding(absl::string_view encoding, Oid oid) {
  constexpr Oid kXml = 142;
  return encoding == "SQL_ASCII" && oid == kXml;
}

Oid GetOid(const Result& result, int row, int column) {
  return static_cast<Oid>(result.GetInt(row, column));
}

}  // namespace

absl::StatusOr<TypeCatalog> ReadTypeCatalog(Connection& connection) {
  const std::string kPlaceholder = "$multirange";
  std::string sql = kTypesSql;
  sql.replace(sql.find(kPlaceholder), kPlaceholder.size(),
              connection.server_version() >= 140000
                  ? "(SELECT m.rngtypid FROM pg_catalog.pg_range m WHERE m.rngmultitypid = t.oid)"
                  : "NULL");
  TOWLINE_ASSIGN_OR_RETURN(Result result, connection.Query(sql));
  const std::string encoding = connection.server_encoding();
  TypeCatalog types;
  for (int row = 0; row < result.row_count(); ++row) {
    TypeFacts type;
    type.name = result.GetString(row, 1);
    type.is_in_pg_catalog = result.GetBool(row, 2);
    type.kind = result.Get(row, 3)[0];
    type.is_array = result.GetBool(row, 4);
    type.element = GetOid(result, row, 5);
    type.base = GetOid(result, row, 6);
    type.subtype = GetOid(result, row, 7);
    for (absl::string_view member : absl::StrSplit(result.Get(row, 8), ',', absl::SkipEmpty())) {
      Oid oid = 0;
      if (absl::SimpleAtoi(member, &oid)) type.members.push_back(oid);
    }
    type.has_send_and_receive = result.GetBool(row, 9);
    type.has_operator_class = result.GetBool(row, 10);
    type.schema = result.GetString(row, 11);
    type.base_typmod = static_cast<int32_t>(result.GetInt(row, 12));
    type.base_text = result.GetString(row, 13);
    Oid oid = GetOid(result, row, 0);
    type.is_bound_to_encoding = IsBoundToEncoding(encoding, oid);
    types.emplace(oid, std::move(type));
  }
  return types;
}

}  // namespace towline
