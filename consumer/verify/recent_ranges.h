// Within a table that is compared range after range, again and again: first the ranges in which
// rows were written since it was last compared, on either side.
//
// By the transactions that wrote them (xmin), of a sample of pages: two for each range, so at most
// 64 MiB of the source's table however large, and the same share of the destination's. To look at
// all rows would read the table once more, where it is the reading that is rationed. A range with a
// few rows written may so be taken for one without, and comes in its turn; the order decides on
// nothing but when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "pg/connection.h"
#include "verify/compared_table.h"

namespace towline {

// For each server the oldest transaction that ran at one moment: what was written since has its
// number or a higher one.
struct WriteMark {
  uint64_t source = 0;
  uint64_t destination = 0;
};

absl::StatusOr<WriteMark> ReadWriteMark(Connection& source, Connection& destination);

// Rows of the sample by the number of their range.
using RangeCounts = std::map<int64_t, int64_t>;

absl::StatusOr<RangeCounts> CountWrittenSince(Connection& source, Connection& destination,
                                              const ComparedTable& table, const WriteMark& mark);

// So many neighbours at a time, which one read compares: those with the most such rows first, else
// as they are. Pure.
std::vector<int64_t> OrderByWritten(const std::vector<int64_t>& numbers, size_t step,
                                    const RangeCounts& written);

}  // namespace towline
