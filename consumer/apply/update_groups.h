// Net updates of a table by the columns that they leave as they are: each group is one set.
#pragma once

#include <cstddef>
#include <vector>

#include "apply/fold.h"
#include "apply/target.h"

namespace towline {

// Under FULL a new row brings unchanged values too, and writing one that is stored out of line
// writes all of it anew. The server begins to do so in rows of some 2 kB (TOAST_TUPLE_THRESHOLD).
inline constexpr size_t kEqualBytesMin = 2 << 10;
// What a group must save to be one only for the sake of such values: a statement of its own costs
// about as much as writing some kilobytes. No more of them, because each is a prepared statement.
inline constexpr size_t kSavedBytesMin = 16 << 10;
inline constexpr size_t kSavingGroupsMax = 8;

struct UpdateGroup {
  std::vector<bool> is_unchanged;  // of target.written, as in SetShape; empty: none
  std::vector<NetChange> updates;  // in the order that they had
};

// By the columns whose values were not sent, and, where it is worth it, those whose large values
// are equal to the old row's (not where rows may differ from it). `set_rows_min`: smaller groups go
// as single changes, which compare for themselves (row_writer.cpp).
std::vector<UpdateGroup> GroupUpdates(const Target& target, std::vector<NetChange> updates,
                                      size_t set_rows_min);

}  // namespace towline
