// What a comparison has found, and how it is told. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/name.h"

namespace towline {

enum class VerifyVerdict {
  kEqual,
  kDifferent,
  kUndecided,  // could not be told, or not for every row
};

// One key with what differs there; without a key the rows with one text.
struct DifferingRow {
  std::string key;  // as a row of key values, "(1,a)"; without a key the MD5 of the row's text
  int64_t source_rows = 0;
  int64_t destination_rows = 0;      // 0: the row is missing there; of source_rows: it is extra
  std::vector<std::string> columns;  // that differ, if there is one row on each side
  bool is_repaired = false;          // or written into the file
};

// missing, extra, different
std::string KindOf(const DifferingRow& row);

struct TableReport {
  TableName table;
  VerifyVerdict verdict = VerifyVerdict::kEqual;
  int64_t source_rows = 0;  // as first read
  int64_t destination_rows = 0;
  int64_t missing = 0;  // rows that are not at the destination
  int64_t extra = 0;    // rows that are only there
  int64_t different = 0;
  int64_t repaired = 0;            // of these three
  int64_t undecided = 0;           // keys
  int64_t ranges = 0;              // that were compared one by one, after the table as a whole
  int64_t rechecked = 0;           // keys that differed when they were first read
  std::vector<DifferingRow> rows;  // the first of those that are counted above
  std::string note;                // why it could not be told, or what differs besides rows
  std::string repair_note;         // why rows were not repaired, the last reason
};

// Counts it, and names it as long as few are named.
void AddDifference(DifferingRow row, TableReport* report);

// What differs besides rows (schema_compare.h).
struct SchemaReport {
  int64_t statements = 0;                     // of the source
  std::vector<std::string> missing;           // statements, as pg_dump writes them
  std::vector<std::string> extra;             // those that only the destination has
  std::vector<std::string> sequences_behind;  // "s.q" is at 5, the source's at 7
  std::string note;                           // why something could not be told

  VerifyVerdict verdict() const;
};

struct VerifyReport {
  std::string task;           // empty: none, two databases as they are
  int64_t run = 0;            // in towline_state.verify_run; 0: it is not written there
  bool has_repaired = false;  // --repair or --repair-sql was given
  std::string mode;           // "rows", "counts", "rows, sample 10 %"
  std::optional<SchemaReport> schema;
  std::vector<TableReport> tables;      // of a continuous comparison the last look at each
  std::vector<TableName> later_tables;  // that came meanwhile, and were not compared
  // Of a continuous comparison: how many times all tables were compared, and whether any was
  // different in any of them.
  std::optional<int64_t> rounds;
  bool was_different = false;
  double seconds = 0;

  VerifyVerdict verdict() const;
};

// The exit status of `verify`: 0 equal, 1 different, 2 could not tell.
int VerifyExitStatus(VerifyVerdict verdict);
const char* VerifyVerdictName(VerifyVerdict verdict);

std::string FormatVerifyReport(const VerifyReport& report);
std::string VerifyReportToJson(const VerifyReport& report);

}  // namespace towline
