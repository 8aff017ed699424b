// Small changes to the text of a captured command, which is otherwise run as it came. They look at
// words only, outside of quotes and comments; what they do not know they leave as it is. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace towline {

// CREATE or DROP INDEX, and DETACH PARTITION without FINALIZE as well: as it runs in a transaction.
std::string WithoutConcurrently(absl::string_view statement);

// CREATE TABLE [AS], which the source has carried out: it was not there. A table of its name that
// is here is another one, with rows of its own.
std::string WithoutIfNotExists(absl::string_view create_table);

// CREATE TABLE AS and the like: makes the table, and no rows.
std::string WithNoData(absl::string_view statement);

// Of a table or an index: tablespaces are each server's own, as for the first copy.
std::string WithoutTablespace(absl::string_view statement);

// SELECT ... INTO table as CREATE TABLE table AS SELECT .... As it came if no INTO is found.
std::string AsCreateTable(absl::string_view select_into);

// DROP of what may be missing. As it came if it is no DROP, or says so already.
std::string WithIfExists(absl::string_view tag, absl::string_view drop);

// CREATE SCHEMA of this name (quoted), which AUTHORIZATION alone takes from the role; the role
// itself stays with `keeps_owner` only.
std::string AsSchema(absl::string_view create_schema, absl::string_view name, bool keeps_owner);

// Whether a DROP, whose kind the tag says, takes along what depends on its objects.
bool Cascades(absl::string_view tag, absl::string_view drop);

// DROP of these (quoted) and of nothing else.
std::string AsDropOf(absl::string_view tag, absl::string_view drop,
                     const std::vector<std::string>& names);

}  // namespace towline
