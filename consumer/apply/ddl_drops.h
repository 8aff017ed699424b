// What a DROP has dropped, as statements of its own: whose it was, or what its names mean, is not
// always the same here. Pure.
#pragma once

#include <string>
#include <vector>

#include "model/ddl.h"

namespace towline {

// Of what DROP INDEX, VIEW, SEQUENCE and others of relations, TYPE or DOMAIN has dropped, what is
// of that kind itself; nothing of other commands.
std::vector<DdlObject> ObjectsOfDrop(const DdlCommand& command,
                                     const std::vector<DdlObject>& dropped);

// Those of kinds that can be dropped by name. Each of what may be missing.
std::vector<std::string> DropStatements(const DdlCommand& command,
                                        const std::vector<DdlObject>& dropped);

}  // namespace towline
