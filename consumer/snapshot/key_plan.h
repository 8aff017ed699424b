// How a table is copied: whole, in key ranges or in ctid ranges. Pure.
//
// A key range has a short snapshot of its own and is done when it is committed: nothing old is held
// back at the source, and a killed copy goes on at its unfinished ranges. ctid ranges need no key
// and read the table in the order of its pages, but live and die with one snapshot.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "model/key_ranges.h"
#include "model/table.h"
#include "snapshot/key_choice.h"

namespace towline {

enum class CopyPlanner { kAuto, kKeys, kCtid };  // what the user wants
enum class CopyMode { kWhole, kKeys, kCtid };    // what becomes of it

struct KeyPlanOptions {
  CopyPlanner planner = CopyPlanner::kAuto;
  int64_t range_bytes = 0;  // wanted; 0: tables are not divided
};

struct KeyPlan {
  CopyMode mode = CopyMode::kWhole;
  int64_t range_count = 1;  // wanted
  std::string reason;       // "its key has 2 columns"
};

// As in TableStatus::copied_by.
absl::string_view NameOf(CopyMode mode);

KeyPlan PlanKeys(const Table& table, const KeyChoice& choice, const KeyPlanOptions& options);

// "k" >= 'a'::pg_catalog.int8 AND "k" < 'b'::pg_catalog.int8, a condition that the key's index
// serves, for CopyPart::key_condition; empty for a range without ends. In a session with the
// pinned settings. Compares in the order of the source's column: elsewhere the same only for
// types without a collation.
std::string KeyCondition(const ChunkKey& key, const KeyRange& range);

}  // namespace towline
