// The list of all checks: id, what it asks and why, how it is mended. docs/checks.md is written
// from it, and a finding takes its "why" from here, so that the page and the program say the same.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace towline {

struct CheckInfo {
  const char* id;
  const char* level;  // of a finding that is no pass: "fail", "warn", "fail, warn", "none"
  const char* why;    // what goes wrong otherwise
  const char* mend;   // in general; the finding has the exact statement
};

const std::vector<CheckInfo>& CheckCatalog();
const CheckInfo& FindCheck(absl::string_view id);

// Whether the check matters to a run of these stages: a copy without a stream needs no slot, a
// stream without a copy no snapshot, and the schema alone touches no rows.
bool IsOfStages(absl::string_view id, bool copies_rows, bool streams);

// docs/checks.md.
std::string ChecksMarkdown();

}  // namespace towline
