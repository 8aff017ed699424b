// A destination: what is committed there, and what of it is on disk. Strict: a change that does not
// find its row, or finds another one in its place, is refused. One transaction that is open, those
// that are prepared, and the task's own rows.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/source.h"
#include "sim/tables.h"

namespace towline::sim {

struct Piece {
  std::string state = "pending";  // copying, copied
  std::optional<Seen> seen;       // the snapshot under which it is read
};

// What a transaction changes: counts of rows that it adds or takes away.
using Delta = std::array<std::map<std::string, Counted>, kTables.size()>;

struct Stored {
  Contents contents;
  std::array<Piece, kTables.size()> pieces;
  uint64_t position = 0;
  uint64_t epoch = 0;
  bool has_snapshots = true;               // they are not forgotten
  std::map<uint64_t, Delta> prepared;      // by xid
  std::map<uint64_t, bool> ended;          // prepared transactions of ours that ended: committed?
  std::map<uint64_t, bool> prepared_rows;  // towline_state.prepared: whether it is empty
};

class Destination {
 public:
  const Stored& committed() const { return committed_; }
  const Stored& durable() const { return durable_; }

  // Another session's short transaction: what `edit` does to the rows of the task.
  template <typename Edit>
  void Transact(Dice* dice, Edit edit) {
    Later(dice->OneIn(2));
    edit(&committed_);
    Settle();
    if (working_.has_value()) LookAgain();
  }

  // The applier's transaction. False: refused, and the transaction has failed.
  void Begin();
  bool MovePosition(uint64_t epoch, uint64_t from, uint64_t to);
  bool Has(size_t table, const std::string& key) const { return (*working_)[table].contains(key); }
  bool Insert(size_t table, const Row& row);
  // The row with the key (all values where there is none); values that are not given stay.
  bool Update(size_t table, const std::string& key, const Row& row,
              const std::vector<bool>& is_given);
  bool Delete(size_t table, const std::string& key);
  void Truncate(size_t table);
  void NotePrepared(uint64_t xid, bool is_empty) { noted_[xid] = is_empty; }
  void RemovePrepared(uint64_t xid) { removed_.push_back(xid); }
  void Savepoint() { saved_ = {*working_, delta_}; }
  void RollBackToSavepoint();
  void Commit(bool is_synchronous);
  void Prepare(uint64_t xid);
  void RollBack() { working_.reset(); }
  // Both are on disk at once.
  void EndPrepared(uint64_t xid, bool commits);

  void WriteOut(Dice* dice);  // some of what is committed reaches the disk
  void Crash();

 private:
  void Later(bool is_synchronous) {
    is_synchronous_ = is_synchronous;
    if (!is_synchronous) before_.push_back(committed_);
  }
  void Settle();
  void LookAgain();  // what others have committed is seen
  void Change(size_t table, const std::string& key, const Row& row, int count);
  static void Join(const Delta& delta, Stored* stored);

  Stored committed_;
  Stored durable_;
  std::deque<Stored> before_;  // what was committed, oldest first, and is not on disk
  bool is_synchronous_ = false;
  // The open transaction.
  std::optional<Contents> working_;
  Delta delta_;
  std::pair<Contents, Delta> saved_;
  std::optional<uint64_t> moves_to_;
  std::map<uint64_t, bool> noted_;
  std::vector<uint64_t> removed_;
};

}  // namespace towline::sim
