// Whether a command that was run here has meant what it has meant at the source. Names that it
// mentions beside what it is about (types, functions, the table of a foreign key, those of a view)
// are found by the search_path. Where the source's object is missing here, or another one of its
// name stands in an earlier schema, they mean that other one. The catalog says so: of what the
// command has come to depend on here nothing may have the name of what the source tells and another
// schema. What depends on something else altogether is let be: a column may have another type here
// on purpose, a partition what only this server's table above it has.
#pragma once

#include <compare>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/ddl.h"
#include "pg/connection.h"

namespace towline {

// What is asked for an object; more than itself may be meant, as what was there before is not
// looked at.
struct DdlRoot {
  std::string kind;  // "relation", "routine", "type", or as DdlObject::type, of which all are asked
  std::string schema;
  std::string name;

  auto operator<=>(const DdlRoot&) const = default;
};
std::set<DdlRoot> RootsOf(const std::vector<DdlObject>& objects);

// What the objects and all that belongs to them depend on here, each as "catalog identity", or as
// "extension name" for a member of one.
absl::StatusOr<std::set<std::string>> ReadReferences(Connection* connection,
                                                     const std::vector<DdlObject>& objects);

// Why what was added is another object than the source's of that name, or than one that its server
// has built in and the statement names; empty: none is. Pure.
std::string WhyOtherReferences(const std::set<std::string>& before,
                               const std::set<std::string>& after,
                               const std::set<std::string>& source, const std::string& statement);

}  // namespace towline
