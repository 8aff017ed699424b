// A source: sessions that write, a log, snapshots, and a walsender that decodes the log from where
// it is asked to, as PostgreSQL does: transactions at their commit, or in runs while they are in
// progress, or at their PREPARE. Naive on purpose, and apart from what is tested: rows have numbers
// that nobody else sees, and what a snapshot holds is a set of transactions.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "decode/frame_builder.h"
#include "model/received.h"
#include "sim/tables.h"

namespace towline::sim {

struct Change {
  size_t table = 0;
  std::vector<size_t> truncated;  // tables; then nothing else is meant
  uint64_t row = 0;               // its number
  std::optional<Row> before;
  std::optional<Row> after;
  uint64_t subxid = 0;  // that of the transaction itself outside of savepoints
};

using Numbered = std::array<std::map<uint64_t, Row>, kTables.size()>;
// To the rows of that table.
void Apply(const Change& change, size_t table, std::map<uint64_t, Row>* rows);

struct Transaction {
  uint64_t xid = 0;
  std::string gid;              // prepared
  std::vector<Change> changes;  // that were not rolled back
  struct Savepoint {
    uint64_t subxid = 0;
    size_t first_change = 0;
    bool is_released = false;
  };
  std::vector<Savepoint> savepoints;
  bool is_prepared = false;
  bool has_ended = false;  // snapshots see it, and its locks are gone
  uint64_t commit_lsn = 0;
  uint64_t end_lsn = 0;
};

// What a snapshot shows, by those who took it, and as the server prints it.
struct Seen {
  std::set<uint64_t> xids;
  std::string text;
  uint64_t lsn_after = 0;
};

class Source {
 public:
  explicit Source(Dice* dice);

  // One step of one session. With `is_closing` nothing is begun.
  void Step(bool is_closing);
  bool is_quiet() const { return open_.empty() && prepared_.empty(); }
  // Some of those committed become visible; all: as somebody sees who waits for them.
  void EndSome();
  void EndAll();

  Seen TakeSnapshot() const;
  uint64_t log_end() const { return next_lsn_; }
  const Numbered& initial() const { return initial_; }
  const std::vector<Transaction>& committed() const { return committed_; }  // in their order

  // The slot.
  uint64_t confirmed_flush() const { return confirmed_; }
  void Confirm(uint64_t lsn) { confirmed_ = std::max(confirmed_, lsn); }
  void PersistSlot() { persisted_ = confirmed_; }
  void Crash() { confirmed_ = persisted_; }  // what was confirmed since is forgotten
  bool is_two_phase() const { return is_two_phase_; }

  // A new connection from `position` on.
  void StartReplication(uint64_t position, bool switches_two_phase, bool streams);
  // The next message; nothing: all has been sent, or the walsender has only read.
  std::optional<Received> Send();
  bool has_sent_all() const { return sent_lsn_ == next_lsn_ && out_.empty(); }

 private:
  enum class Kind {
    kChange,
    kSavepointAbort,
    kCommit,
    kAbort,
    kPrepare,
    kCommitPrepared,
    kRollbackPrepared
  };
  struct Record {
    Kind kind = Kind::kChange;
    uint64_t lsn = 0;
    uint64_t xid = 0;
    Change change;
    std::vector<uint64_t> subxids;
    std::string gid;
  };
  // As a walsender knows it.
  struct Decoded {
    std::deque<Change> changes;  // not sent yet
    bool is_streamed = false;
    std::set<uint64_t> streamed_subxids;
    uint64_t sent = 0;  // changes in runs
    uint64_t prepare_lsn = 0;
    std::string gid;
  };

  void Log(Record record);
  bool IsLocked(size_t table, uint64_t row, const Transaction& own) const;
  bool IsValueTaken(size_t table, size_t column, const std::string& value,
                    const Transaction& own) const;
  std::map<uint64_t, Row> Now(size_t table, const Transaction& own) const;
  void Begin();
  void Write(Transaction* transaction);
  void Truncate(Transaction* transaction);
  void RollBackToSavepoint(Transaction* transaction);
  void End(size_t index);
  void EndPrepared();
  void Finish(Transaction transaction, uint64_t lsn);
  Row AnyRow(size_t table, const std::optional<Row>& before);

  void Decode(const Record& record);
  void SendRun(uint64_t xid, Decoded* decoded);
  void SendWhole(const Record& record, Decoded* decoded, bool as_prepared);
  void AddChange(const Change& change, FrameBuilder* frame);
  void AddImage(const Row& row, const std::optional<Row>& before, size_t columns, bool is_new,
                FrameBuilder* frame, std::string* image);
  uint32_t Describe(size_t table, FrameBuilder* frame);
  void Flush(FrameBuilder* frame);
  FrameBuilder NewFrame();

  Dice* const dice_;
  Numbered initial_;
  Numbered now_;  // what is committed
  std::vector<Transaction> open_;
  std::vector<Transaction> prepared_;
  std::vector<Transaction> committed_;
  std::vector<Transaction> aborted_;  // their locks are gone at once
  std::vector<Record> log_;
  uint64_t next_lsn_ = 1000;
  uint64_t next_xid_ = 10;
  uint64_t next_row_ = 1;
  uint64_t next_value_ = 1;
  uint64_t confirmed_ = 1000;
  uint64_t persisted_ = 1000;
  bool is_two_phase_ = false;
  uint64_t two_phase_at_ = 0;

  // The connection.
  uint64_t start_ = 0;
  bool streams_ = false;
  size_t read_ = 0;  // records
  uint64_t sent_lsn_ = 0;
  bool has_greeted_ = false;
  std::map<uint64_t, Decoded> decoded_;
  std::map<size_t, uint32_t> described_;
  uint32_t next_number_ = 1;
  std::deque<Received> out_;
};

}  // namespace towline::sim
