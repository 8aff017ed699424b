// The statements that read one table on one server, for comparison with the other.
//
// A row stands for itself as the text of ROW(values...): NULL and '' differ in it, commas and
// quotes are escaped, and each value is its type's own output under the pinned settings (pg/:
// shortest exact floats, ISO dates, UTC, hexadecimal bytea). A rule's expressions and the casts
// that the copy makes are applied at the source, so that both texts are those of what was promised.
//
// Row texts are hashed to 64 bits, and hashes added: the sum of a set does not depend on the order
// in which a server finds the rows, and equal rows that are there twice count twice. Between
// servers of one major version on one platform the hash is hashtextextended(), which both then
// compute by the same code; with MD5 a row costs three times as much. Nothing promises that it
// stays the same across versions, so between others it is the first 64 bits of the MD5 of the text
// in UTF-8.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/name.h"

namespace towline {

enum class RowHash {
  kFast,
  kMd5,
  kMd5OfUtf8,  // the databases' encodings differ
};

// A key column on one side.
struct KeyPart {
  std::string value;  // expression, of the type in which it is compared
  std::string type;   // of this side's, for literals
};

// How rows are sorted into buckets, so that a difference is found without looking at all rows
// again.
struct Buckets {
  // Of a key of one column: where the buckets 1, 2, ... begin, as literals in order. Then a bucket
  // is found by index. Empty: buckets are made by hash.
  std::vector<std::string> bounds;
  int64_t count = 1;  // by hash: a power of two

  bool is_split() const { return count > 1 || !bounds.empty(); }
  int64_t size() const { return bounds.empty() ? count : static_cast<int64_t>(bounds.size()) + 1; }
};

class SideQuery {
 public:
  TableName table;
  std::string where;                // rows that are compared, an operand; empty: all
  std::vector<std::string> values;  // of each compared column, in the order of both sides
  std::vector<KeyPart> key;         // empty: a row is known by the MD5 of its text
  bool is_key_searchable = false;   // = of pg_catalog compares the key's types
  RowHash hash = RowHash::kMd5;
  Buckets buckets;

  // How many rows there are and, if asked for, the identity of them all (see below).
  std::string CountSql(bool has_identity) const;
  // 0, count, sum of hashes: one row for the whole table. As cheap as a read can be, and in
  // parallel where the server allows it, which grouping by an expression does not get.
  std::string WholeSql() const;
  // The same of these buckets together.
  std::string PartSql(const std::vector<int64_t>& numbers) const;
  // bucket, count, sum of hashes: a row per bucket that is not empty, of these numbers, in order.
  std::string BucketsSql(const std::vector<int64_t>& numbers) const;
  // The same of the rows of one bucket alone, which may be parted in another way.
  SideQuery Within(int64_t number) const;
  // bucket, count: of the rows that a transaction of this number or a higher one has written, in
  // about so many percent of the table's pages.
  std::string WrittenSinceSql(double percent, uint64_t transaction) const;
  // id, count, sum of hashes, identity, key values: a row per key of these buckets. The identity
  // changes whenever a row of that key is written (its xmin and ctid).
  std::string KeysOfBucketsSql(const std::vector<int64_t>& numbers) const;
  // The same of these keys; each as the columns from the fourth on gave it.
  using KeyValues = std::vector<std::optional<std::string>>;
  std::string KeysSql(const std::vector<std::string>& ids,
                      const std::vector<KeyValues>& keys) const;
  // id, ctid, xmin, size of the text: a row per row of these keys, and perhaps of others.
  std::string VersionsSql(const std::vector<std::string>& ids,
                          const std::vector<KeyValues>& keys) const;
  // id, ctid, xmin, the values, these columns: as above.
  std::string RowsSql(const std::vector<std::string>& ids, const std::vector<KeyValues>& keys,
                      const std::vector<std::string>& columns) const;
  // A hash per value of the row of this key.
  std::string ValueHashesSql(const std::string& id, const KeyValues& key) const;

 private:
  std::string RowText() const;
  std::string HashOf(const std::string& text) const;
  std::string Md5Of(const std::string& text) const;
  std::string IdText() const;
  std::string BucketOf() const;
  std::string SumSql(const std::string& condition) const;
  std::string From(const std::string& condition) const;
  std::string BucketCondition(const std::vector<int64_t>& numbers) const;
  std::string KeyCondition(const std::vector<std::string>& ids,
                           const std::vector<KeyValues>& keys) const;
  std::string Keys(const std::string& condition) const;
};

}  // namespace towline
