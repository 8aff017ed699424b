// Whether keys that differed at a first look really differ.
//
// The destination is never read at the source's snapshot but somewhere behind it, so a row that is
// written meanwhile differs without being wrong. Keys that differ are therefore read again, in
// turns: source S1, destination D1, source S2, destination D2, each D when the task's position has
// passed the S before it. A key differs for certain when
//   its rows at the source are the same versions (xmin, ctid) in S1 and S2,
//   its rows at the destination are the same versions in D1 and D2,
//   nothing that runs in S2 ran at D1 (S2 is settled after D1, repairer.h), and
//   the two differ in what they hold.
// For: every change that D1 holds was committed at the source before D1, and S2 sees it. (That it
// was committed is not enough: until a synchronous standby has answered it is applied here, and
// seen by nobody there.) If the source's row is the same version in both, nothing wrote it in
// between, so D1 and what the source had at that place of its log are the same row; that D1 shows
// another is a difference. Where the source has no row in both, one may have come and gone in
// between, and D1 may rightly show it; but then D2, which has passed S2, cannot show the same
// version of it: what writes a row anew makes a new version. A key whose hashes are equal once is
// equal. So no difference is reported that is none, and none is missed in a row that the source
// leaves alone between two reads. A key that is written between every two of them is undecided.
// While a long transaction runs at the source no S2 is settled: a difference that is the same in
// all reads is taken for one, unless the source waits for standbys.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "verify/compared_table.h"
#include "verify/pair_reader.h"
#include "verify/report.h"

namespace towline {

// What one side holds under a key.
struct KeyState {
  int64_t rows = 0;
  std::string hashes;    // sum
  std::string versions;  // sum

  bool HoldsAs(const KeyState& other) const { return rows == other.rows && hashes == other.hashes; }
  bool IsVersion(const KeyState& other) const {
    return rows == other.rows && versions == other.versions;
  }
};

struct SuspectKey {
  SideQuery::KeyValues values;
  KeyState source;
  KeyState destination;
  uint64_t mark = 0;     // taken behind the read that first showed it so (PairReader)
  int stable_reads = 0;  // that showed it so again, none of them settled
};

using SuspectKeys = std::map<std::string, SuspectKey>;  // by id

// The keys that differ in what KeysOfBucketsSql() or KeysSql() gave. `mark`: taken behind it.
SuspectKeys FindSuspects(const PairReader::Pair& pair, uint64_t mark);

// Those that really differ. Undecided ones are counted in the report.
absl::StatusOr<SuspectKeys> CheckKeys(PairReader& reader, const ComparedTable& table,
                                      SuspectKeys suspects, const Shutdown& shutdown,
                                      TableReport* report);

// Adds them to the report, the first with the columns that differ.
absl::Status ReportKeys(PairReader& reader, const ComparedTable& table, const SuspectKeys& keys,
                        TableReport* report);

}  // namespace towline
