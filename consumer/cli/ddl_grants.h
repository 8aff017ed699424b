// The part of `towline grants` that schema changes need (ddl): capture at the source, and at the
// destination a role that owns what it is to alter.
#pragma once

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/grants_script.h"
#include "config/config.h"

namespace towline {

// Whether the destination's role makes things beside what the first copy makes.
bool MakesObjects(const Config& config);

// Whether no pattern selects tables, so that commands are carried of what belongs to none as well.
absl::StatusOr<bool> SelectsAllTables(const Config& config);

absl::Status AddDdlAtSource(const Config& config, GrantsServer& source,
                            const GrantsTouched& touched, GrantsScript& script);

// Of what `members` own, whose roles the script grants, nothing gets another owner.
absl::Status AddDdlAtDestination(const Config& config, GrantsServer& source,
                                 GrantsServer& destination, const GrantsTouched& touched,
                                 const std::set<std::string>& members, GrantsScript& script);

}  // namespace towline
