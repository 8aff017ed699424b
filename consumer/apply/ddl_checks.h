// What a command needs at the destination before it is run. The destination's own error would not
// say what is missed, or there would be none. Each gives why not to run it; empty: nothing.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/ddl.h"
#include "pg/connection.h"

namespace towline {

// The tables that it alters, or that what it makes belongs to.
absl::StatusOr<std::string> WhyTableMissing(Connection* connection, const DdlCommand& command);

// The schemas of what it makes: a name without schema would be made in the next one of the
// search_path.
absl::StatusOr<std::string> WhySchemaMissing(Connection* connection, const DdlCommand& command);

}  // namespace towline
