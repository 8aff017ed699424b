#include "schema/sequences.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// One SELECT over so many sequences: each is a relation to open, lock and close.
constexpr size_t kSequencesPerQuery = 200;

constexpr char kSequencesSql[] = R"sql(
SELECT n.nspname, c.relname,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
         AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state')
  AND ($1::text[] = '{}' OR n.nspname = ANY ($1::text[]))
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
ORDER BY 1, 2
)sql";

// MATERIALIZED: the conditions are met before setval() runs.
constexpr char kSetSql[] = R"sql(
WITH chosen AS MATERIALIZED (
  SELECT c.oid, v.last_value, v.is_called
  FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[])
       AS v(schema_name, name, last_value, is_called)
  JOIN pg_catalog.pg_namespace n ON n.nspname = v.schema_name
  JOIN pg_catalog.pg_class c
    ON c.relnamespace = n.oid AND c.relname = v.name AND c.relkind = 'S'
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
  CROSS JOIN LATERAL (SELECT pg_catalog.pg_sequence_last_value(c.oid) AS last_value) here
  WHERE NOT ($5::boolean AND here.last_value IS NOT NULL
             AND CASE WHEN s.seqincrement > 0 THEN here.last_value > v.last_value
                      ELSE here.last_value < v.last_value END))
SELECT pg_catalog.count(pg_catalog.setval(chosen.oid::regclass, last_value, is_called)) FROM chosen
)sql";

}  // namespace

absl::StatusOr<std::vector<SequenceValue>> ReadSequences(Connection& source,
                                                         const std::vector<std::string>& schemas) {
  ArrayLiteral wanted;
  for (const std::string& schema : schemas) wanted.Add(schema);
  TOWLINE_ASSIGN_OR_RETURN(Result found, source.Query(kSequencesSql, {{wanted.ToString()}}));
  std::vector<SequenceValue> values;
  for (int row = 0; row < found.row_count(); ++row) {
    TableName name{found.GetString(row, 0), found.GetString(row, 1)};
    if (found.GetBool(row, 2)) {
      values.push_back({std::move(name), 0, false});
    } else {
      LogWarning("no right to read a sequence of the source; its value is not carried over",
                 {{"sequence", QuoteQualified(name.schema, name.name)}});
    }
  }
  for (size_t start = 0; start < values.size(); start += kSequencesPerQuery) {
    std::string sql;
    for (size_t i = start; i < std::min(values.size(), start + kSequencesPerQuery); ++i) {
      absl::StrAppend(&sql, i == start ? "" : " UNION ALL ", "SELECT ", i,
                      ", last_value, is_called FROM ",
                      QuoteQualified(values[i].name.schema, values[i].name.name));
    }
    TOWLINE_ASSIGN_OR_RETURN(Result read, source.Query(sql));
    for (int row = 0; row < read.row_count(); ++row) {
      SequenceValue& value = values[static_cast<size_t>(read.GetInt(row, 0))];
      value.last_value = read.GetInt(row, 1);
      value.is_called = read.GetBool(row, 2);
    }
  }
  return values;
}

absl::StatusOr<int64_t> SetSequences(Connection& destination,
                                     const std::vector<SequenceValue>& values, bool never_back) {
  ArrayLiteral schemas;
  ArrayLiteral names;
  ArrayLiteral last_values;
  ArrayLiteral called;
  for (const SequenceValue& value : values) {
    schemas.Add(value.name.schema);
    names.Add(value.name.name);
    last_values.Add(absl::StrCat(value.last_value));
    called.Add(value.is_called ? "t" : "f");
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      destination.Query(kSetSql, {{schemas.ToString(), names.ToString(), last_values.ToString(),
                                   called.ToString(), never_back ? "t" : "f"}}));
  return result.row_count() == 1 ? result.GetInt(0, 0) : 0;
}

}  // namespace towline
