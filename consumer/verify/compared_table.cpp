#include "verify/compared_table.h"

#include <algorithm>
#include <optional>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"
#include "schema/type_passage.h"

namespace towline {
namespace {

constexpr int64_t kRowsPerBucket = 1000;
constexpr int64_t kOneBucketRows = 4000;  // of a table that is read again as a whole
constexpr int64_t kRangesMax = 4096;
constexpr int64_t kHashBucketsMax = 65536;
constexpr int64_t kSampledPerBucket = 30;
constexpr int64_t kSampledPagesPerBucket = 2;
// Below it the rows of a part are all over the table, which would be read once for each part.
constexpr double kCorrelationMin = 0.95;

std::string TypeSql(const TableColumn& column) {
  return QuoteQualified(column.type_schema, column.type_name);
}

std::string CastTypeSql(const TableColumn& to) {
  return to.base.has_value() ? QuoteQualified(to.base->schema, to.base->name) : TypeSql(to);
}

// Types whose = is found under the pinned search_path.
bool IsSearchable(const TableColumn& column) {
  return column.type_kind == 'e' || (column.type_kind == 'b' && column.type_schema == "pg_catalog");
}

// Types that every server sorts alike: no collation, no setting.
bool IsSortedAlike(const TableColumn& column) {
  static const std::set<std::string> kTypes = {"int2", "int4", "int8",      "oid",        "numeric",
                                               "uuid", "date", "timestamp", "timestamptz"};
  return column.type_kind == 'b' && column.type_schema == "pg_catalog" &&
         kTypes.contains(column.type_name);
}

bool IsReplaced(const TableRule* rule, const std::string& column) {
  const RuleColumn* listed = rule == nullptr ? nullptr : rule->FindColumn(column);
  return listed != nullptr && listed->expression.has_value();
}

bool HasExpressions(const TableRule* rule) {
  return rule != nullptr &&
         std::any_of(rule->columns.begin(), rule->columns.end(),
                     [](const RuleColumn& column) { return column.expression.has_value(); });
}

bool IsUsable(const UniqueIndex& index, const Table& source, const Table& destination,
              const TableRule* rule) {
  if (index.is_partial || !index.is_null_free || index.columns.empty()) return false;
  return std::all_of(index.columns.begin(), index.columns.end(), [&](const std::string& name) {
    return !name.empty() && source.FindColumn(name) != nullptr &&
           destination.FindColumn(name) != nullptr && !IsReplaced(rule, name);
  });
}

// Any will do: it only has to tell rows apart, and to find them.
const UniqueIndex* ChooseKey(const Table& source, const Table& destination, const TableRule* rule) {
  const UniqueIndex* chosen = nullptr;
  for (const UniqueIndex& index : source.unique_indexes) {
    if (!IsUsable(index, source, destination, rule)) continue;
    bool is_better =
        chosen == nullptr || (index.is_primary && !chosen->is_primary) ||
        (index.is_primary == chosen->is_primary && index.columns.size() < chosen->columns.size());
    if (is_better) chosen = &index;
  }
  return chosen;
}

bool IsCast(const TableColumn& source, const TableColumn& destination) {
  return FindPassage(TypeOf(source), TypeOf(destination)) == Passage::kCast;
}

void AddKey(const UniqueIndex& index, const Table& source, const Table& destination,
            ComparedTable* table) {
  bool is_searchable = true;
  for (const std::string& name : index.columns) {
    const TableColumn& from = *source.FindColumn(name);
    const TableColumn& to = *destination.FindColumn(name);
    bool is_cast = IsCast(from, to);
    const std::string quoted = QuoteIdentifier(name);
    table->source.key.push_back(
        {is_cast ? absl::StrCat("(", quoted, "::", CastTypeText(to), ")") : quoted,
         is_cast ? CastTypeSql(to) : TypeSql(from)});
    table->destination.key.push_back({quoted, TypeSql(to)});
    is_searchable = is_searchable && IsSearchable(from) && IsSearchable(to);
    if (table->first_key.empty()) {
      table->first_key = name;
      // A NULL, which the destination may let in where the source does not, is in no range.
      table->has_bounds =
          !is_cast && IsSortedAlike(from) && from.type_name == to.type_name && to.is_not_null;
    }
  }
  table->source.is_key_searchable = is_searchable;
  table->destination.is_key_searchable = is_searchable;
}

// Of everything that MakeComparedTable() takes.
std::string FormOf(const Table& source, const Table& destination, const ComparedTable& table) {
  std::string form = absl::StrCat(source.oid, " ", destination.oid);
  for (const Table* side : {&source, &destination}) {
    for (const TableColumn& column : side->columns) {
      absl::StrAppend(&form, " ", column.attnum, ":", column.type_oid, ":", column.typmod);
    }
  }
  return absl::StrCat(form, " ", table.first_key, " ", table.source.WholeSql(), " ",
                      table.destination.WholeSql());
}

// None: it was never analyzed, or is empty.
absl::StatusOr<std::optional<double>> ReadCorrelation(Connection& session,
                                                      const ComparedTable& table) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result row,
      session.Query("SELECT pg_catalog.abs(correlation) FROM pg_catalog.pg_stats WHERE schemaname "
                    "= $1 AND tablename = $2 AND attname = $3 AND NOT inherited",
                    {{table.name.schema, table.name.name, table.first_key}}));
  double correlation = 0;
  if (row.row_count() != 1 || row.IsNull(0, 0)) return std::nullopt;
  if (!absl::SimpleAtod(row.Get(0, 0), &correlation)) return std::nullopt;
  return correlation;
}

int64_t PowerOfTwoFrom(int64_t count) {
  int64_t power = 1;
  while (power < count) power *= 2;
  return power;
}

}  // namespace

ComparedTable MakeComparedTable(const Table& source, const Table& destination,
                                const TableRule* rule, const std::string& destination_where,
                                RowHash hash) {
  ComparedTable table;
  table.name = source.name;
  table.bytes = source.total_bytes;
  table.pages = source.page_count;
  // Statistics may be older than the rows; pages never are.
  table.rows = std::max(source.estimated_rows, source.page_count * 10);
  for (SideQuery* side : {&table.source, &table.destination}) {
    side->table = source.name;
    side->hash = hash;
  }
  if (rule != nullptr && !rule->where.empty()) table.source.where = AsOperand(rule->where);
  table.destination.where = destination_where;
  for (const TableColumn& column : source.columns) {
    const TableColumn* other = destination.FindColumn(column.name);
    // What the destination computes of replaced values is not what the source has.
    if (column.generated != '\0' && (other == nullptr || HasExpressions(rule))) continue;
    std::string quoted = QuoteIdentifier(column.name);
    std::string value = IsReplaced(rule, column.name)
                            ? RuleValueSql(column, *rule->FindColumn(column.name)->expression)
                            : quoted;
    if (IsCast(column, *other)) value = absl::StrCat("(", value, ")::", CastTypeText(*other));
    table.columns.push_back(column.name);
    table.targets.push_back({other->generated != '\0', other->identity == 'a'});
    table.source.values.push_back(std::move(value));
    table.destination.values.push_back(std::move(quoted));
  }
  for (const TableColumn& column : destination.columns) {
    bool is_compared =
        std::find(table.columns.begin(), table.columns.end(), column.name) != table.columns.end();
    if (!is_compared && column.generated == '\0') table.other_columns.push_back(column.name);
  }
  if (const UniqueIndex* index = ChooseKey(source, destination, rule); index != nullptr) {
    AddKey(*index, source, destination, &table);
  }
  table.form = FormOf(source, destination, table);
  return table;
}

void MakeHashBuckets(ComparedTable* table) {
  Buckets buckets;
  if (table->rows > kOneBucketRows) {
    buckets.count = std::min(kHashBucketsMax, PowerOfTwoFrom(table->rows / kRowsPerBucket));
  }
  table->source.buckets = table->destination.buckets = buckets;
}

absl::Status ChooseBuckets(Connection& source, ComparedTable* table) {
  MakeHashBuckets(table);
  if (!table->has_bounds || !table->source.buckets.is_split()) return absl::OkStatus();
  const int64_t count = std::min(kRangesMax, table->rows / kRowsPerBucket);
  // Of whole pages, whose rows are often neighbours: several for each range.
  const double rows_wanted = static_cast<double>(count * kSampledPerBucket);
  const double pages_wanted = static_cast<double>(count * kSampledPagesPerBucket);
  const double percent = std::min(
      100.0,
      100.0 * std::max(rows_wanted / static_cast<double>(table->rows),
                       pages_wanted / static_cast<double>(std::max<int64_t>(1, table->pages))));
  const std::string& key = table->source.key[0].value;
  // By the key, not by the text that is selected under the same name.
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      source.Exec(absl::StrCat("SELECT k::pg_catalog.text FROM (SELECT ", key,
                               " AS k, pg_catalog.row_number() OVER (ORDER BY ", key,
                               ") AS n, pg_catalog.count(*) OVER () AS c FROM ONLY ",
                               QuoteQualified(table->name.schema, table->name.name),
                               " TABLESAMPLE SYSTEM (", absl::StrFormat("%.6f", percent),
                               ") REPEATABLE (0)) AS s WHERE n % greatest(c / ", count,
                               ", 1) = 0 GROUP BY s.k ORDER BY s.k")));
  Buckets buckets;
  for (int i = 0; i < rows.row_count(); ++i) buckets.bounds.push_back(rows.GetString(i, 0));
  if (!buckets.bounds.empty()) table->source.buckets = table->destination.buckets = buckets;
  return absl::OkStatus();
}

absl::StatusOr<bool> FollowsFirstKey(Connection& source, Connection& destination,
                                     const ComparedTable& table) {
  TOWLINE_ASSIGN_OR_RETURN(std::optional<double> at_source, ReadCorrelation(source, table));
  TOWLINE_ASSIGN_OR_RETURN(std::optional<double> at_destination,
                           ReadCorrelation(destination, table));
  // What was copied lies as it did at the source.
  return at_source.value_or(0) >= kCorrelationMin && at_destination.value_or(1) >= kCorrelationMin;
}

absl::StatusOr<RowHash> ChooseHash(Connection& source, Connection& destination) {
  if (source.server_encoding() != destination.server_encoding()) return RowHash::kMd5OfUtf8;
  // "PostgreSQL 15.20 on x86_64-pc-linux-gnu, compiled by ..."
  constexpr char kPlatform[] =
      "SELECT pg_catalog.split_part(pg_catalog.split_part(pg_catalog.version(), ' on ', 2), ',', "
      "1)";
  TOWLINE_ASSIGN_OR_RETURN(std::string source_platform, source.QueryValue(kPlatform));
  TOWLINE_ASSIGN_OR_RETURN(std::string destination_platform, destination.QueryValue(kPlatform));
  bool is_same = source_platform == destination_platform && !source_platform.empty() &&
                 source.server_version() / 10000 == destination.server_version() / 10000;
  return is_same ? RowHash::kFast : RowHash::kMd5;
}

}  // namespace towline
