#include "verify/side_query.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Of a row's version.
constexpr char kVersion[] =
    "pg_catalog.hashtextextended(xmin::pg_catalog.text || ctid::pg_catalog.text, 0)";

std::string RowOf(const std::vector<std::string>& values) {
  return absl::StrCat("ROW(", absl::StrJoin(values, ", "), ")::pg_catalog.text");
}

std::string Literals(const std::vector<std::string>& values) {
  return absl::StrJoin(values, ", ", [](std::string* out, const std::string& value) {
    absl::StrAppend(out, QuoteLiteral(value));
  });
}

}  // namespace

std::string SideQuery::RowText() const { return RowOf(values); }

std::string SideQuery::Md5Of(const std::string& text) const {
  if (hash == RowHash::kMd5OfUtf8) {
    return absl::StrCat("pg_catalog.md5(pg_catalog.convert_to(", text, ", 'UTF8'))");
  }
  return absl::StrCat("pg_catalog.md5(", text, ")");
}

std::string SideQuery::HashOf(const std::string& text) const {
  if (hash == RowHash::kFast) {
    return absl::StrCat("pg_catalog.hashtextextended(", text, " COLLATE pg_catalog.\"C\", 0)");
  }
  return absl::StrCat("('x' || pg_catalog.substr(", Md5Of(text),
                      ", 1, 16))::pg_catalog.bit(64)::pg_catalog.int8");
}

std::string SideQuery::IdText() const {
  if (key.empty()) return Md5Of(RowText());
  std::vector<std::string> parts;
  for (const KeyPart& part : key) parts.push_back(part.value);
  return RowOf(parts);
}

std::string SideQuery::BucketOf() const {
  if (!buckets.bounds.empty()) {
    return absl::StrCat("pg_catalog.width_bucket(", key[0].value, ", ARRAY[",
                        Literals(buckets.bounds), "]::", key[0].type, "[])::pg_catalog.int8");
  }
  std::string text = key.empty() ? RowText() : IdText();
  if (key.size() == 1) text = absl::StrCat("(", key[0].value, ")::pg_catalog.text");
  return absl::StrCat("coalesce(", HashOf(text), ", 0) & ", buckets.count - 1);
}

std::string SideQuery::From(const std::string& condition) const {
  std::vector<std::string> conditions;
  if (!condition.empty()) conditions.push_back(absl::StrCat("(", condition, ")"));
  if (!where.empty()) conditions.push_back(where);
  return absl::StrCat(" FROM ONLY ", QuoteQualified(table.schema, table.name),
                      conditions.empty() ? "" : " WHERE ", absl::StrJoin(conditions, " AND "));
}

std::string SideQuery::CountSql(bool has_identity) const {
  std::string identity = has_identity ? absl::StrCat(", pg_catalog.sum(", kVersion, ")") : "";
  return absl::StrCat("SELECT pg_catalog.count(*)", identity, From(""));
}

std::string SideQuery::WholeSql() const { return SumSql(""); }

std::string SideQuery::PartSql(const std::vector<int64_t>& numbers) const {
  return SumSql(BucketCondition(numbers));
}

std::string SideQuery::SumSql(const std::string& condition) const {
  return absl::StrCat("SELECT 0, pg_catalog.count(*), pg_catalog.sum(", HashOf(RowText()), ")",
                      From(condition));
}

std::string SideQuery::BucketsSql(const std::vector<int64_t>& numbers) const {
  const bool is_all = static_cast<int64_t>(numbers.size()) == buckets.size();
  return absl::StrCat("SELECT b, pg_catalog.count(*), pg_catalog.sum(h) FROM (SELECT ", BucketOf(),
                      " AS b, ", HashOf(RowText()), " AS h",
                      From(is_all ? "" : BucketCondition(numbers)), ") AS r GROUP BY b");
}

SideQuery SideQuery::Within(int64_t number) const {
  SideQuery part = *this;
  const std::string condition = BucketCondition({number});
  part.where = absl::StrCat("(", condition, where.empty() ? "" : absl::StrCat(" AND ", where), ")");
  part.buckets = Buckets();
  return part;
}

// age() counts from the present back, and is below 0 for what was written more than 2^31
// transactions ago.
std::string SideQuery::WrittenSinceSql(double percent, uint64_t transaction) const {
  return absl::StrCat("SELECT b, pg_catalog.count(*) FROM (SELECT ", BucketOf(), " AS b FROM ONLY ",
                      QuoteQualified(table.schema, table.name), " TABLESAMPLE SYSTEM (",
                      absl::StrFormat("%.6f", percent),
                      ") REPEATABLE (0) WHERE pg_catalog.age(xmin) BETWEEN 0 AND (SELECT "
                      "pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) - ",
                      transaction, ")) AS r GROUP BY b");
}

std::string SideQuery::BucketCondition(const std::vector<int64_t>& numbers) const {
  if (buckets.bounds.empty()) {
    if (buckets.count <= 1) return "";
    return absl::StrCat(BucketOf(), " IN (", absl::StrJoin(numbers, ", "), ")");
  }
  std::vector<std::string> ranges;
  const std::string& value = key[0].value;
  auto bound = [this](size_t number) {
    return absl::StrCat(QuoteLiteral(buckets.bounds[number]), "::", key[0].type);
  };
  // Neighbours together: one search of the index.
  for (size_t i = 0; i < numbers.size();) {
    const auto first = static_cast<size_t>(numbers[i]);
    size_t last = first;
    for (++i; i < numbers.size() && static_cast<size_t>(numbers[i]) == last + 1; ++i) ++last;
    std::vector<std::string> parts;
    if (first > 0) parts.push_back(absl::StrCat(value, " >= ", bound(first - 1)));
    if (last < buckets.bounds.size()) parts.push_back(absl::StrCat(value, " < ", bound(last)));
    if (parts.empty()) return "";
    ranges.push_back(absl::StrCat("(", absl::StrJoin(parts, " AND "), ")"));
  }
  return absl::StrJoin(ranges, " OR ");
}

// By what the index finds, where there is one for it; it may find more than was asked for (1.0 and
// 1.00 are equal), which the caller drops by id. Otherwise the texts of all rows are compared.
std::string SideQuery::KeyCondition(const std::vector<std::string>& ids,
                                    const std::vector<KeyValues>& keys) const {
  bool has_null = std::any_of(keys.begin(), keys.end(), [](const KeyValues& one) {
    return std::any_of(one.begin(), one.end(), [](const auto& part) { return !part; });
  });
  if (key.empty() || !is_key_searchable || has_null) {
    return absl::StrCat(IdText(), " IN (", Literals(ids), ")");
  }
  std::vector<std::string> rows;
  for (const KeyValues& one : keys) {
    std::vector<std::string> literals;
    for (size_t i = 0; i < key.size(); ++i) {
      literals.push_back(absl::StrCat(QuoteLiteral(*one[i]), "::", key[i].type));
    }
    rows.push_back(absl::StrJoin(literals, ", "));
  }
  if (key.size() == 1) {
    return absl::StrCat(key[0].value, " IN (", absl::StrJoin(rows, ", "), ")");
  }
  std::vector<std::string> parts;
  for (const KeyPart& part : key) parts.push_back(part.value);
  return absl::StrCat("(", absl::StrJoin(parts, ", "), ") IN (VALUES (",
                      absl::StrJoin(rows, "), ("), "))");
}

std::string SideQuery::Keys(const std::string& condition) const {
  std::string inner;
  std::string outer;
  for (size_t i = 0; i < key.size(); ++i) {
    absl::StrAppend(&inner, ", (", key[i].value, ")::pg_catalog.text AS k", i);
    absl::StrAppend(&outer, ", pg_catalog.min(k", i, " COLLATE pg_catalog.\"C\")");
  }
  return absl::StrCat("SELECT id, pg_catalog.count(*), pg_catalog.sum(h), pg_catalog.sum(v)", outer,
                      " FROM (SELECT ", IdText(), " AS id, ", HashOf(RowText()), " AS h, ",
                      kVersion, " AS v", inner, From(condition), ") AS r GROUP BY id");
}

std::string SideQuery::KeysOfBucketsSql(const std::vector<int64_t>& numbers) const {
  return Keys(BucketCondition(numbers));
}

std::string SideQuery::KeysSql(const std::vector<std::string>& ids,
                               const std::vector<KeyValues>& keys) const {
  return Keys(KeyCondition(ids, keys));
}

std::string SideQuery::VersionsSql(const std::vector<std::string>& ids,
                                   const std::vector<KeyValues>& keys) const {
  return absl::StrCat("SELECT ", IdText(), ", ctid, xmin, pg_catalog.octet_length(", RowText(), ")",
                      From(KeyCondition(ids, keys)));
}

std::string SideQuery::RowsSql(const std::vector<std::string>& ids,
                               const std::vector<KeyValues>& keys,
                               const std::vector<std::string>& columns) const {
  std::vector<std::string> wanted = values;
  for (const std::string& column : columns) wanted.push_back(QuoteIdentifier(column));
  return absl::StrCat("SELECT ", IdText(), ", ctid, xmin", wanted.empty() ? "" : ", ",
                      absl::StrJoin(wanted, ", "), From(KeyCondition(ids, keys)));
}

std::string SideQuery::ValueHashesSql(const std::string& id, const KeyValues& key_values) const {
  std::vector<std::string> hashes;
  for (const std::string& value : values) {
    hashes.push_back(Md5Of(RowOf({value})));
  }
  return absl::StrCat("SELECT ", absl::StrJoin(hashes, ", "),
                      From(KeyCondition({id}, {key_values})), " AND ", IdText(), " = ",
                      QuoteLiteral(id));
}

}  // namespace towline
