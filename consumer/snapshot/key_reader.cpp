#include "snapshot/key_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/substitute.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Sorted by bytes: the C library's C and POSIX, and all collations that the server brings itself
// (provider b, since 17). Not the C library's C.UTF-8: its order is not the server's to promise.
// Columns that versions lack are read by way of jsonb.
constexpr char kCandidatesSql[] = R"sql(
SELECT i.indrelid, ic.relname, a.attname,
       CASE WHEN a.attcollation <> t.typcollation THEN cn.nspname || '.' || co.collname ELSE '' END,
       a.attcollation = 0 OR locale.provider = 'b'
         OR (locale.provider = 'c' AND locale.name IN ('C', 'POSIX')),
       i.indcollation[0] = a.attcollation
         AND oc.opcfamily IN (SELECT d.opcfamily FROM pg_catalog.pg_opclass d
                              WHERE d.opcdefault AND d.opcmethod = oc.opcmethod
                                AND d.opcintype = oc.opcintype),
       s.correlation
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_opclass oc ON oc.oid = i.indclass[0]
LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
CROSS JOIN LATERAL (
  SELECT CASE WHEN co.collprovider = 'd'
           THEN COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c')
           ELSE co.collprovider::text END AS provider,
         CASE WHEN co.collprovider = 'd' THEN d.datcollate ELSE co.collcollate END AS name) locale
LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
  AND s.attname = a.attname AND NOT s.inherited
WHERE i.indrelid = ANY ($1::oid[]) AND i.indisunique AND i.indisvalid AND i.indislive
  AND i.indnkeyatts = 1 AND i.indpred IS NULL
)sql";

// Rows of one page have keys near each other where the key follows the heap, so it is pages that
// count: the size of a range strays by about 1 / sqrt(64) = 12 %. The limit is 80 MB, read in
// places: measured on 2 million rows with gaps, 64 ranges, the largest had 1.36 times its share by
// 64 pages a range, 2.1 by 16; from pg_stats (100 buckets) 1.41, and 500 ranges cannot be had.
constexpr int64_t kSamplePagesPerRange = 64;
constexpr int64_t kSamplePagesMax = 10'000;

// Bounds are stored with every range; a longer key is no bound.
constexpr size_t kBoundBytesMax = 1024;

// $0 column, $1 type, $2 table, $3 its oid, $4 ranges, $5 pages. The size is asked anew: a table
// that has grown since it was planned must not be read as a whole.
constexpr char kBoundsSql[] = R"sql(
SELECT bound::pg_catalog.text
FROM (SELECT pg_catalog.unnest(pg_catalog.percentile_disc(
               (SELECT pg_catalog.array_agg(number / $4::float8)
                FROM pg_catalog.generate_series(1, $4 - 1) number))
               WITHIN GROUP (ORDER BY $0::pg_catalog.$1)) AS bound
      FROM ONLY $2 TABLESAMPLE SYSTEM (
        LEAST(100.0 * $5 * pg_catalog.current_setting('block_size')::bigint
                / GREATEST(pg_catalog.pg_relation_size($3::oid), 1), 100)::real)) bounds
)sql";

}  // namespace

absl::StatusOr<std::map<Oid, std::vector<KeyCandidate>>> ReadKeyCandidates(
    Connection& source, const std::vector<Oid>& tables) {
  std::map<Oid, std::vector<KeyCandidate>> candidates;
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      source.Query(kCandidatesSql, {{absl::StrCat("{", absl::StrJoin(tables, ","), "}")}}));
  for (int row = 0; row < rows.row_count(); ++row) {
    KeyCandidate candidate;
    candidate.index = rows.GetString(row, 1);
    candidate.column = rows.GetString(row, 2);
    candidate.collation = rows.GetString(row, 3);
    candidate.is_sorted_by_bytes = rows.GetBool(row, 4);
    candidate.is_index_in_order = rows.GetBool(row, 5);
    double correlation = 0;
    if (!rows.IsNull(row, 6) && absl::SimpleAtod(rows.Get(row, 6), &correlation)) {
      candidate.correlation = correlation;
    }
    candidates[static_cast<Oid>(rows.GetInt(row, 0))].push_back(std::move(candidate));
  }
  return candidates;
}

absl::StatusOr<std::vector<std::string>> ReadKeyBounds(Connection& source, const Table& table,
                                                       const ChunkKey& key, int64_t range_count) {
  std::vector<std::string> bounds;
  if (range_count < 2) return bounds;
  absl::StatusOr<Result> rows = source.Query(
      absl::Substitute(kBoundsSql, QuoteIdentifier(key.column), KeyTypeName(key.type),
                       QuoteQualified(table.name.schema, table.name.name), table.oid, range_count,
                       std::min(range_count * kSamplePagesPerRange, kSamplePagesMax)));
  if (!rows.ok()) return WithContext(rows.status(), "looking for bounds of key ranges");
  std::vector<std::pair<KeyValue, std::string>> sorted;
  for (int row = 0; row < rows->row_count(); ++row) {
    if (rows->Get(row, 0).size() > kBoundBytesMax) continue;
    TOWLINE_ASSIGN_OR_RETURN(KeyValue value, KeyFromText(key.type, rows->Get(row, 0)));
    sorted.emplace_back(std::move(value), rows->GetString(row, 0));
  }
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (i > 0 && sorted[i].first == sorted[i - 1].first) continue;
    bounds.push_back(std::move(sorted[i].second));
  }
  return bounds;
}

}  // namespace towline
