// Whether a table that is already at the destination can take the rows of a source table, as it is
// published (table_rules.h).
#pragma once

#include <string>
#include <vector>

#include "model/table.h"

namespace towline {

// Whether values of the source's column can be had in the destination's: of the same type, or of
// one that they can be cast to (schema/type_passage.h).
bool HasFittingType(const TableColumn& source, const TableColumn& destination);

// What does not fit, one sentence part each ("column \"note\" is missing"); empty: it fits. Columns
// are matched by name, their order does not matter. `destination.oid` is not 0.
std::vector<std::string> DescribeMisfit(const Table& source, const Table& destination);

// The statements that make a table that was created as it is at the source take what a rule
// publishes of it: columns that expressions add, and NULL where no value comes and no default is.
// Of a partition they name the topmost table, the only one that can be changed so. Empty: it fits.
std::vector<std::string> AdjustingStatements(const Table& source, const Table& destination);

// The statements that make a table of the destination fit the source's again: columns that are
// missing or have another type. Of a partition they name the topmost table. `destination.oid` 0:
// none can be told.
std::vector<std::string> MendingStatements(const Table& source, const Table& destination);

// A unique index for each of the source's that the destination's table lacks. Without those that
// are partial, deferrable or of an expression.
std::vector<std::string> MissingKeyStatements(const Table& source, const Table& destination);

// Columns that get no value and must have one: NOT NULL, without a default, and not published.
std::vector<const TableColumn*> UnfilledColumns(const Table& source, const Table& destination);

}  // namespace towline
