// What a DROP has dropped, as statements of its own: whose it was, or what its names mean, is not
// always the same here. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/ddl.h"

namespace towline {

// The command, of what it has named itself, with schemas. Empty: of kinds that have none, and of
// other commands.
std::string DropByWholeNames(const DdlCommand& command, const std::vector<DdlObject>& dropped);

// Whether it is of a kind that statements name by its identity.
bool IsDroppable(const DdlObject& object);
// How statements call an object of this type, and name it: its identity, mostly.
std::string KeywordsOf(absl::string_view type);
std::string NameAs(absl::string_view keywords, const DdlObject& object);

// Those of kinds that can be dropped by name. Each of what may be missing.
std::vector<std::string> DropStatements(const DdlCommand& command,
                                        const std::vector<DdlObject>& dropped);

}  // namespace towline
