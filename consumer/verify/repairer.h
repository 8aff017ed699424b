// Mends at the destination the rows of keys that were found to differ, while the task streams.
//
// What the source holds now is not what the destination should hold: the task is behind, and what
// it brings next must find the rows as they were at its position. So a repair is made at a
// standstill of the task, with what the source held at just that place of its log:
//
//   D1  the versions (xmin, ctid) of the keys' rows at the destination
//   S1  the source's rows under a snapshot that is settled after D1 (below), and a place L of the
//       log behind it; then wait until the task's position has passed L
//       a destination transaction begins and locks the position's row: whatever moves the position
//       waits for its end, and nothing of the task is half written
//   S2  the versions of the rows at the source under another snapshot, settled after the lock
//   D2  the rows at the destination, locked
//
// A key is mended, in that transaction, if its rows have the same versions in S1 and S2, and in D1
// and D2. A key of which that is not so was written, and is looked at again from the beginning.
//
// A snapshot is *settled* after a moment if no transaction that ran at that moment still runs in
// it. A transaction is in the log, and may be applied, a moment before other sessions see it, and
// with a synchronous standby that is away any time before. Settled after D, a snapshot sees every
// transaction that the destination had at D.
//
// Why it is exact. Let D be the transactions that the destination holds at the lock. S1 is within D
// (the position has passed L), D is within S2 (settled). If the source has the row in S1 and S2 in
// one version, no transaction of S2 wrote it that is not in S1, so the source had just this row
// after D, and it is written. If it has none in either, something may have come and gone between
// them, and D may end between the two. But then the row at the destination was written after S1 and
// so after D1, because S1 sees all that was there at D1: the versions in D1 and D2 differ. The same
// goes for one more row of a text, in a table without key. The next change that the stream brings
// for the key finds what it expects, or nothing where it inserts.
//
// With triggers and foreign keys off, and marked by an origin as all that a task writes. A
// transaction holds some hundred keys, or up to 16 MiB of them. Where unique values are in each
// other's way, those transactions are put off until the table's end, and then all in one: first the
// deletes, then the inserts.
//
// With a file the statements go there instead, each with what tells that its row is still the one
// that was seen. Nothing is locked then.
//
// Not for a task whose destination others write to: their rows are differences.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/shutdown.h"
#include "state/position.h"
#include "state/verify_record.h"
#include "verify/compared_table.h"
#include "verify/key_check.h"
#include "verify/pair_reader.h"
#include "verify/repair_file.h"
#include "verify/repair_plan.h"
#include "verify/report.h"

namespace towline {

class Repairer {
 public:
  struct Options {
    ConnectOptions destination;
    std::string task;                // the one that is waited for; empty: none
    int origin_number = 0;           // no other session's
    absl::Duration wait_max;         // for transactions that run at the source
    RepairFile* file = nullptr;      // the statements go there, and not to the destination
    VerifyRecord* record = nullptr;  // where repairs are noted, in the transactions that make them
    // Of the task's own process, which streams nothing meanwhile (a PairReader that is held): every
    // transaction sees to it that the task is still its own.
    std::optional<TaskClaim> claim = std::nullopt;
  };

  static absl::StatusOr<std::unique_ptr<Repairer>> Open(Options options, const Shutdown& shutdown);

  // Nothing is left of a table that failed before its end.
  void BeginTable() { clashing_.clear(); }
  // Reports what differs and what has become of it. Gives the keys that must be looked at again.
  absl::StatusOr<SuspectKeys> Repair(PairReader& reader, const ComparedTable& table,
                                     SuspectKeys keys, TableReport* report);
  // Behind the table's last key: those that were in each other's way.
  absl::StatusOr<SuspectKeys> FinishTable(PairReader& reader, const ComparedTable& table,
                                          TableReport* report);
  // Keys of the table are put off until FinishTable().
  bool has_put_off() const { return !clashing_.empty(); }
  // From now on rows of the destination that the source lacks, or has otherwise, are deleted, and
  // nothing is inserted: what is left of a table stands in no missing row's way.
  void set_only_deletes(bool only_deletes) { only_deletes_ = only_deletes; }
  // Whether a row was left as it is because of others that have its unique values, since the last
  // call.
  bool TakeClashLeft() { return std::exchange(is_clash_left_, false); }

 private:
  using Rows = std::map<std::string, std::vector<ReadRow>>;  // by key
  // Keys whose rows are written in one transaction.
  struct Group {
    SuspectKeys keys;
    bool replaces_rows = false;
  };

  Repairer(Options options, Connection session, const Shutdown& shutdown)
      : options_(std::move(options)), session_(std::move(session)), shutdown_(&shutdown) {}

  absl::Status Work(std::vector<Group> groups, PairReader& reader, const ComparedTable& table,
                    TableReport* report, SuspectKeys* again);
  // What becomes of a group that failed: halves to try, keys put off, or a refusal that is
  // reported.
  absl::Status Divide(Group group, const absl::Status& failure, TableReport* report,
                      std::vector<Group>* groups, SuspectKeys* again);
  absl::Status Mend(const Group& group, PairReader& reader, const ComparedTable& table,
                    TableReport* report, SuspectKeys* again);
  // S1.
  absl::StatusOr<Rows> ReadSource(Connection& source, const ComparedTable& table,
                                  const Group& group, int64_t destination_bytes);
  // Within the destination's transaction. Gives what was written.
  absl::StatusOr<std::vector<DifferingRow>> MendHeld(const Group& group, const Rows& before,
                                                     const Rows& source_rows, PairReader& reader,
                                                     const ComparedTable& table,
                                                     SuspectKeys* again);
  absl::Status HoldTask(PairReader& reader, const ComparedTable& table);
  // Leaves a transaction of the source open, under a snapshot that is settled after this call.
  // Gives the place of the log behind it.
  absl::StatusOr<Lsn> BeginSettled(PairReader& reader, absl::Duration wait_max);
  absl::Status Write(const ComparedTable& table, const std::vector<RowRepair>& rows,
                     bool replaces_rows);

  Options options_;
  Connection session_;
  const Shutdown* shutdown_;
  SuspectKeys clashing_;
  std::string held_note_;  // why the source does not settle; it is not waited for again
  bool only_deletes_ = false;
  bool is_clash_left_ = false;
};

}  // namespace towline
