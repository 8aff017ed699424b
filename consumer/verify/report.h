// What a comparison has found, and how it is told. Plain data.
#pragma once

#include <cstdint>
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
};

struct TableReport {
  TableName table;
  VerifyVerdict verdict = VerifyVerdict::kEqual;
  int64_t source_rows = 0;  // as first read
  int64_t destination_rows = 0;
  int64_t missing = 0;  // rows that are not at the destination
  int64_t extra = 0;    // rows that are only there
  int64_t different = 0;
  int64_t undecided = 0;           // keys
  int64_t rechecked = 0;           // keys that differed when they were first read
  std::vector<DifferingRow> rows;  // the first of those that are counted above
  std::string note;                // why it could not be told, or what differs besides rows
};

struct VerifyReport {
  std::string task;  // empty: none, two databases as they are
  std::vector<TableReport> tables;
  double seconds = 0;

  VerifyVerdict verdict() const;
};

// The exit status of `verify`: 0 equal, 1 different, 2 could not tell.
int VerifyExitStatus(VerifyVerdict verdict);
const char* VerifyVerdictName(VerifyVerdict verdict);

std::string FormatVerifyReport(const VerifyReport& report);
std::string VerifyReportToJson(const VerifyReport& report);

}  // namespace towline
