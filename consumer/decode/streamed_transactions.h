// Transactions that the source sends while they are in progress: runs of entries, kept as bytes in
// the spool until the transaction's commit, when they are replayed in order, or its abort. Walks
// entries by their tags only; what a row says is looked at when it is replayed.
//
// Whatever contradicts the protocol is kDataLoss: a run in a run, an end without a beginning, an
// unknown transaction, a count of changes that is not what arrived.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "decode/subtransaction_index.h"
#include "spool/spool.h"

namespace towline {

class StreamedTransactions {
 public:
  // Of each transaction in progress: about 5 MB. Beyond it, cutting off an old subtransaction costs
  // a reading of the log.
  static constexpr size_t kSubtransactionsMax = 100'000;

  // What a commit replays.
  struct Whole {
    std::unique_ptr<SpoolLog> log;
    uint64_t change_count = 0;  // in the log, without those of aborted subtransactions
  };

  // Without a spool nothing was asked for, and nothing is taken.
  explicit StreamedTransactions(Spool* spool, size_t subtransactions_max = kSubtransactionsMax)
      : spool_(spool), subtransactions_max_(subtransactions_max) {}

  bool is_in_run() const { return run_ != nullptr; }
  uint64_t run_xid() const { return run_xid_; }

  absl::Status StartRun(uint64_t xid, bool is_first);
  // An entry of the open run, which is kept: any that belongs to a transaction but Relation.
  absl::Status Add(uint32_t kind, absl::string_view content, absl::string_view entry);
  absl::Status StopRun(uint64_t xid);

  // `subxid` equal to `xid`: the whole transaction.
  absl::Status Abort(uint64_t xid, uint64_t subxid);
  // What was sent of a transaction that needs no replay, if anything was.
  void Forget(uint64_t xid) { transactions_.erase(xid); }
  // `change_count`: sent for the transaction, those of aborted subtransactions included.
  absl::StatusOr<Whole> Take(uint64_t xid, uint64_t change_count);

 private:
  struct Transaction {
    explicit Transaction(size_t subtransactions_max) : subtransactions(subtransactions_max) {}
    std::unique_ptr<SpoolLog> log;
    uint64_t arrived = 0;  // changes
    uint64_t kept = 0;     // changes in the log
    SubtransactionIndex subtransactions;
  };

  absl::StatusOr<SubtransactionIndex::Mark> LookFor(Transaction& transaction, uint64_t subxid);

  Spool* const spool_;
  const size_t subtransactions_max_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Transaction>> transactions_;
  Transaction* run_ = nullptr;  // whose run is open
  uint64_t run_xid_ = 0;
};

}  // namespace towline
