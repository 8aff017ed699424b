// The relation that the tests of ranges use: an int4 column k, which is the key, and others of the
// same type.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/relation.h"

namespace towline {

inline constexpr Oid kInt4Oid = 23;

inline Relation KeyedRelation(Oid oid, std::string name, const std::vector<std::string>& others) {
  Relation relation;
  relation.oid = oid;
  relation.name = {"s", std::move(name)};
  Column column;
  column.name = "k";
  column.type_oid = kInt4Oid;
  column.is_in_key = true;
  relation.columns = {column};
  relation.sent = {0};
  relation.key = {0};
  column.is_in_key = false;
  for (const std::string& other : others) {
    column.name = other;
    relation.sent.push_back(static_cast<int>(relation.columns.size()));
    relation.columns.push_back(column);
  }
  return relation;
}

}  // namespace towline
