// How the tables are divided among the copy's workers. Pure.
//
// A large table is read in ranges of its pages (ctid), which the server finds without an index and
// which cover every row exactly once under one snapshot. All ranges of a table are one piece: the
// snapshot dies with its session, so a table is never resumed in the middle (hazards A4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/table.h"

namespace towline {

struct CopyPart {
  size_t table = 0;  // index into the tables
  int64_t first_page = 0;
  int64_t end_page = -1;      // exclusive; -1: to the end of the table, wherever that is
  int64_t bytes = 0;          // estimate, for progress and order
  bool is_whole = true;       // the table's only part
  std::string key_condition;  // only rows of a range of keys (key_plan.h), instead of pages
  std::string after;          // only rows behind this place (ctid); empty: all of the part
};

// A range of ctid is read without a full scan from here on.
inline constexpr int kCtidRangesVersionMin = 140000;

struct PlanOptions {
  int64_t part_bytes = 0;       // 0: never divide
  bool has_ctid_ranges = true;  // kCtidRangesVersionMin
};

// Partitioned tables have no rows of their own; unlogged ones are left empty, as their changes are
// not in the log.
bool HasRowsToCopy(const Table& table);

// Parts of all tables that have rows to copy, the largest tables first: the longest work must not
// begin last.
std::vector<CopyPart> PlanParts(const std::vector<Table>& tables, const PlanOptions& options);

// "ctid >= '(a,0)'::tid AND ctid < '(b,0)'::tid", or the condition on the key; empty for a whole
// table.
std::string PartCondition(const CopyPart& part);

}  // namespace towline
