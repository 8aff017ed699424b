// What one call of the applier gets: whole transactions, or a part of one that is too large.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "model/change.h"
#include "model/ddl.h"
#include "model/frame.h"

namespace towline {

enum class BatchPart : uint8_t {
  kWhole,  // one destination transaction of its own
  kFirst,  // opens a destination transaction that later parts continue
  kMiddle,
  kLast,  // commits it
};

// What a batch does with a prepared transaction of the source. It is alone in such a batch, which
// has changes only with kPrepare.
enum class TwoPhase : uint8_t { kNone, kPrepare, kCommitPrepared, kRollbackPrepared };

// Where a transaction's changes begin within a batch, for messages about one of them.
struct TransactionMark {
  size_t first_change = 0;
  uint64_t xid = 0;
  Lsn end_lsn;
  int64_t commit_time_us = 0;
};

struct Batch {
  Batch() = default;
  Batch(Batch&&) = default;
  Batch& operator=(Batch&&) = default;

  BatchPart part = BatchPart::kWhole;
  TwoPhase two_phase = TwoPhase::kNone;
  uint64_t prepared_xid = 0;  // the transaction that two_phase is about
  std::string prepared_gid;   // as the source calls it
  // A command of the transaction, alone in such a part, which has no changes.
  std::shared_ptr<const DdlCommand> ddl;
  std::vector<Change> changes;           // in source order, transactions one after another
  std::vector<Frame> frames;             // own the bytes that changes point into
  std::deque<std::string> spliced_rows;  // images put together from value parts; stable addresses
  size_t bytes = 0;                      // of frames and spliced_rows

  Lsn end_lsn;  // position once this batch is applied; known at kFirst too
  std::vector<TransactionMark> transactions;  // that have changes in it, in order
  int64_t transaction_count = 0;              // ended in this batch
  int64_t oldest_commit_time_us = 0;          // of the transactions in it, 0: none
  int64_t newest_commit_time_us = 0;
};

}  // namespace towline
