#include "schema/sequences.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// One SELECT over so many sequences: each is a relation to open, lock and close.
constexpr size_t kSequencesPerQuery = 200;

constexpr char kSequencesSql[] = R"sql(
WITH named(oid) AS MATERIALIZED (
  SELECT t.oid
  FROM unnest($2::text[], $3::text[]) AS wanted(schema_name, name)
  JOIN pg_catalog.pg_namespace tn ON tn.nspname = wanted.schema_name
  JOIN pg_catalog.pg_class t ON t.relnamespace = tn.oid AND t.relname = wanted.name),
-- An identity belongs to the partitioned table, and rows to its partitions.
tables(oid) AS MATERIALIZED (
  SELECT oid FROM named
  UNION SELECT above.relid::oid
  FROM named CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(named.oid) AS above(relid)),
of_tables(oid) AS MATERIALIZED (
  SELECT CASE WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN d.objid ELSE used.refobjid END
  FROM tables t
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid
    AND (d.classid = 'pg_catalog.pg_class'::regclass OR d.classid = 'pg_catalog.pg_attrdef'::regclass)
  LEFT JOIN pg_catalog.pg_depend used ON d.classid = 'pg_catalog.pg_attrdef'::regclass
    AND used.classid = d.classid AND used.objid = d.objid
    AND used.refclassid = 'pg_catalog.pg_class'::regclass),
of_extensions(oid) AS MATERIALIZED (
  SELECT pg_catalog.unnest(e.extconfig)
  FROM named t
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = t.oid
    AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
  JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid)
SELECT n.nspname, c.relname,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
         AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT'),
       s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'towline', 'towline_state')
  AND ($4::boolean OR CASE
    WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                   AND d.deptype = 'e')
      THEN c.oid IN (SELECT oid FROM of_extensions WHERE oid IS NOT NULL)
    WHEN c.oid IN (SELECT oid FROM of_tables WHERE oid IS NOT NULL) THEN true
    WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                 WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                   AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i'))
      THEN false
    ELSE $1::boolean OR n.nspname = ANY ($2::text[])
  END)
ORDER BY 1, 2
)sql";

// How many were set, without a number, and the numbers of those that are not there. MATERIALIZED:
// the conditions are met before setval() runs.
constexpr char kSetSql[] = R"sql(
WITH gate AS MATERIALIZED (
  SELECT CASE WHEN $5::boolean THEN pg_catalog.pg_advisory_xact_lock(
    pg_catalog.hashtextextended('towline sequences', 0)) END),
given AS MATERIALIZED (
  SELECT v.number, c.oid, v.last_value, v.is_called
  FROM gate CROSS JOIN unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[])
       WITH ORDINALITY AS v(schema_name, name, last_value, is_called, number)
  LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = v.schema_name
  LEFT JOIN pg_catalog.pg_class c
    ON c.relnamespace = n.oid AND c.relname = v.name AND c.relkind = 'S'),
chosen AS MATERIALIZED (
  SELECT v.oid, v.last_value, v.is_called
  FROM given v
  JOIN pg_catalog.pg_sequence s ON s.seqrelid = v.oid
  CROSS JOIN LATERAL (SELECT pg_catalog.pg_sequence_last_value(v.oid) AS last_value) here
  WHERE NOT ($5::boolean AND here.last_value IS NOT NULL
             AND NOT s.seqcycle
             AND (CASE WHEN s.seqincrement > 0 THEN here.last_value > v.last_value
                       ELSE here.last_value < v.last_value END
                  OR here.last_value = v.last_value AND NOT v.is_called)))
SELECT NULL::bigint, pg_catalog.count(pg_catalog.setval(chosen.oid::regclass, last_value, is_called)) FROM chosen
UNION ALL
SELECT number, 0 FROM given WHERE oid IS NULL
)sql";

absl::StatusOr<Result> QuerySequences(Connection& source, const SequenceSelection& selection) {
  ArrayLiteral schemas;
  ArrayLiteral tables;
  for (const TableName& table : selection.tables) {
    schemas.Add(table.schema);
    tables.Add(table.name);
  }
  return source.Query(kSequencesSql, {{selection.is_all ? "t" : "f", schemas.ToString(),
                                       tables.ToString(), selection.is_every ? "t" : "f"}});
}

// Without its value.
SequenceValue SequenceOf(const Result& found, int row) {
  SequenceValue sequence;
  sequence.name = {found.GetString(row, 0), found.GetString(row, 1)};
  sequence.increment = found.GetInt(row, 3);
  sequence.min_value = found.GetInt(row, 4);
  sequence.max_value = found.GetInt(row, 5);
  sequence.does_cycle = found.GetBool(row, 6);
  return sequence;
}

}  // namespace

absl::StatusOr<std::vector<SequenceValue>> FindSequences(Connection& source,
                                                         const SequenceSelection& selection) {
  TOWLINE_ASSIGN_OR_RETURN(Result found, QuerySequences(source, selection));
  std::vector<SequenceValue> sequences;
  for (int row = 0; row < found.row_count(); ++row) sequences.push_back(SequenceOf(found, row));
  return sequences;
}

absl::StatusOr<std::vector<SequenceValue>> ReadSequences(Connection& source,
                                                         const SequenceSelection& selection,
                                                         std::vector<TableName>* unreadable) {
  TOWLINE_ASSIGN_OR_RETURN(Result found, QuerySequences(source, selection));
  std::vector<SequenceValue> values;
  for (int row = 0; row < found.row_count(); ++row) {
    SequenceValue sequence = SequenceOf(found, row);
    if (found.GetBool(row, 2)) {
      values.push_back(std::move(sequence));
    } else {
      unreadable->push_back(std::move(sequence.name));
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

absl::StatusOr<SequencesSet> SetSequences(Connection& destination,
                                          const std::vector<SequenceValue>& values,
                                          bool never_back) {
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
  SequencesSet set;
  for (int row = 0; row < result.row_count(); ++row) {
    if (result.IsNull(row, 0)) {
      set.count = result.GetInt(row, 1);
    } else {
      set.missing.push_back(values[static_cast<size_t>(result.GetInt(row, 0)) - 1]);
    }
  }
  return set;
}

std::string NameSequences(const std::vector<SequenceValue>& sequences) {
  constexpr size_t kNamedMax = 10;
  std::vector<std::string> names;
  for (const SequenceValue& sequence : sequences) {
    names.push_back(QuoteQualified(sequence.name.schema, sequence.name.name));
  }
  const size_t more = names.size() - std::min(names.size(), kNamedMax);
  names.resize(names.size() - more);
  std::string text = absl::StrJoin(names, ", ");
  if (more > 0) absl::StrAppend(&text, " and ", more, " more");
  return text;
}

}  // namespace towline
