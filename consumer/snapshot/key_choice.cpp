#include "snapshot/key_choice.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "pg/quoting.h"

namespace towline {
namespace {

bool IsInIdentity(const Table& table, const UniqueIndex& index) {
  switch (table.replica_identity) {
    case ReplicaIdentity::kDefault:
      return index.is_primary && !index.is_deferrable;
    case ReplicaIdentity::kIndex:
      return index.is_replica_identity;
    case ReplicaIdentity::kFull:
      return true;
    case ReplicaIdentity::kNothing:
      return false;
  }
  return false;
}

// Where no index is in the identity.
std::string WhyNoIdentity(const Table& table) {
  switch (table.replica_identity) {
    case ReplicaIdentity::kDefault: {
      bool has_primary = std::any_of(table.unique_indexes.begin(), table.unique_indexes.end(),
                                     [](const UniqueIndex& index) { return index.is_primary; });
      return has_primary ? "its primary key is deferrable" : "it has no primary key";
    }
    case ReplicaIdentity::kIndex:
      return "the index of its replica identity is gone";
    case ReplicaIdentity::kFull:
      return "it has no unique index";
    case ReplicaIdentity::kNothing:
      return "its replica identity is NOTHING";
  }
  return "";
}

// Why the index's column cannot be the key; empty: it can.
std::string WhyNot(const Table& table, const UniqueIndex& index, const TableRule* rule,
                   const KeyCandidate* candidate, const std::string& encoding) {
  if (index.columns.size() != 1) {
    return absl::StrCat("its key has ", index.columns.size(), " columns");
  }
  const std::string& name = index.columns.front();
  if (name.empty()) return "its key is an expression";
  const std::string key = absl::StrCat("its key ", QuoteIdentifier(name));
  const RuleColumn* listed = rule == nullptr ? nullptr : rule->FindColumn(name);
  if (rule != nullptr && rule->has_columns && listed == nullptr) {
    return absl::StrCat(key, " is left out by the table's rule");
  }
  if (listed != nullptr && listed->expression.has_value()) {
    return absl::StrCat(key, " is sent as an expression of the table's rule");
  }
  const TableColumn* column = table.FindColumn(name);
  if (column == nullptr) return absl::StrCat(key, " is not sent");
  if (column->generated != '\0') return absl::StrCat(key, " is generated, so it is not sent");
  if (!index.is_null_free) return absl::StrCat(key, " may be NULL");
  std::optional<KeyType> type = KeyTypeOf(column->base_type_oid);
  if (!type.has_value()) {
    return absl::StrCat(key, " is of type ", column->type_text, ", whose order is not known here");
  }
  if (candidate == nullptr || index.is_partial) return absl::StrCat(key, " has no full index");
  if (IsCollated(*type) && !candidate->is_sorted_by_bytes) {
    return absl::StrCat(key, " is not sorted by its bytes (COLLATE \"C\")");
  }
  // Bytes of UTF-8 order like those of the server only where these are UTF-8 too.
  if (IsCollated(*type) && encoding != "UTF8" && encoding != "SQL_ASCII") {
    return absl::StrCat(key, " is a text in ", encoding, ", and the stream brings UTF-8");
  }
  if (!candidate->is_index_in_order) {
    return absl::StrCat("the index ", QuoteIdentifier(index.name), " of its key has another order");
  }
  return "";
}

const KeyCandidate* FindCandidate(const std::vector<KeyCandidate>& candidates,
                                  const std::string& index) {
  for (const KeyCandidate& candidate : candidates) {
    if (candidate.index == index) return &candidate;
  }
  return nullptr;
}

double Closeness(const std::optional<double>& correlation) {
  return std::abs(correlation.value_or(0));
}

}  // namespace

KeyChoice ChooseKey(const Table& table, const TableRule* rule,
                    const std::vector<KeyCandidate>& candidates, const std::string& encoding) {
  KeyChoice choice;
  for (const UniqueIndex& index : table.unique_indexes) {  // the primary key first
    if (!IsInIdentity(table, index)) continue;
    const KeyCandidate* candidate = FindCandidate(candidates, index.name);
    std::string reason = WhyNot(table, index, rule, candidate, encoding);
    if (!reason.empty()) {
      if (choice.reason.empty()) choice.reason = std::move(reason);
      continue;
    }
    bool is_better = !choice.key.has_value() ||
                     Closeness(candidate->correlation) > Closeness(choice.correlation);
    if (!is_better) continue;
    const TableColumn& column = *table.FindColumn(index.columns.front());
    choice.key = ChunkKey{.column = column.name,
                          .type_oid = column.type_oid,
                          .type = *KeyTypeOf(column.base_type_oid),
                          .collation = candidate->collation};
    choice.index = index.name;
    choice.correlation = candidate->correlation;
  }
  if (choice.key.has_value()) {
    choice.reason.clear();
  } else if (choice.reason.empty()) {
    choice.reason = WhyNoIdentity(table);
  }
  return choice;
}

}  // namespace towline
