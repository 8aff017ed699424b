#include "schema/sequences.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
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
         AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT'),
       s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state')
  AND ($1::boolean OR n.nspname = ANY ($2::text[]) OR c.oid IN (
    SELECT CASE WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN d.objid ELSE used.refobjid END
    FROM unnest($2::text[], $3::text[]) AS wanted(schema_name, name)
    JOIN pg_catalog.pg_namespace tn ON tn.nspname = wanted.schema_name
    JOIN pg_catalog.pg_class t ON t.relnamespace = tn.oid AND t.relname = wanted.name
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid
      AND (d.classid = 'pg_catalog.pg_class'::regclass OR d.classid = 'pg_catalog.pg_attrdef'::regclass)
    LEFT JOIN pg_catalog.pg_depend used ON d.classid = 'pg_catalog.pg_attrdef'::regclass
      AND used.classid = d.classid AND used.objid = d.objid
      AND used.refclassid = 'pg_catalog.pg_class'::regclass))
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
             AND NOT s.seqcycle
             AND CASE WHEN s.seqincrement > 0 THEN here.last_value > v.last_value
                      ELSE here.last_value < v.last_value END))
SELECT pg_catalog.count(pg_catalog.setval(chosen.oid::regclass, last_value, is_called)) FROM chosen
)sql";

}  // namespace

absl::StatusOr<std::vector<SequenceValue>> ReadSequences(Connection& source,
                                                         const SequenceSelection& selection,
                                                         std::vector<TableName>* unreadable) {
  ArrayLiteral schemas;
  ArrayLiteral tables;
  for (const TableName& table : selection.tables) {
    schemas.Add(table.schema);
    tables.Add(table.name);
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result found, source.Query(kSequencesSql, {{selection.is_all ? "t" : "f", schemas.ToString(),
                                                  tables.ToString()}}));
  std::vector<SequenceValue> values;
  for (int row = 0; row < found.row_count(); ++row) {
    TableName name{found.GetString(row, 0), found.GetString(row, 1)};
    if (found.GetBool(row, 2)) {
      values.push_back({std::move(name), 0, false, found.GetInt(row, 3), found.GetInt(row, 4),
                        found.GetInt(row, 5), found.GetBool(row, 6)});
    } else {
      unreadable->push_back(std::move(name));
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
