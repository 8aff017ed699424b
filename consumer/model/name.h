// A table's name: schema and name as the catalog holds them, unquoted.
#pragma once

#include <compare>
#include <string>

namespace towline {

struct TableName {
  std::string schema;
  std::string name;

  friend auto operator<=>(const TableName&, const TableName&) = default;
};

}  // namespace towline
