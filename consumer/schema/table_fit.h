// Whether a table that is already at the destination can take the rows of a source table.
#pragma once

#include <string>
#include <vector>

#include "model/table.h"

namespace towline {

// What does not fit, one sentence part each ("column \"note\" is missing"); empty: it fits. Columns
// are matched by name, their order does not matter. `destination.oid` is not 0.
std::vector<std::string> DescribeMisfit(const Table& source, const Table& destination);

}  // namespace towline
