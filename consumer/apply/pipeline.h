// Statements sent one behind the other without waiting for each one's answer (libpq's pipeline
// mode), inside the transaction that the caller has opened. Answers are read while sending, so
// neither side ever waits for the other to read; what is on the way is bounded in statements and in
// bytes. Every answer is checked: the first error, or row count that is not the expected one, is
// kept with the change it belongs to, and nothing more is sent.
//
// What opens the transaction (and commits the one before it) travels with its first statement: see
// Before(). COPY is not possible in pipeline mode; it begins with a wait for the server, and its
// end is waited for when the next thing is sent, or by Drain().
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "model/oid.h"
#include "pg/connection.h"

namespace towline {

// Why a batch did not go through, in the server's words.
struct ApplyFailure {
  size_t change = 0;    // index within the batch
  absl::Status status;  // the server's error; OK: the row count was wrong
  int64_t affected_rows = 0;
  std::string server_detail;  // may show values: for towline_state only
  bool is_of_set = false;     // `change` is the first of several
};

class Pipeline {
 public:
  struct Expected {
    size_t change = 0;
    int64_t rows_min = 1;
    int64_t rows_max = 1;
    bool is_counted = true;  // in missed_rows()
    bool is_set = false;
  };
  struct Values {  // one per parameter
    absl::Span<const char* const> values;
    absl::Span<const int> lengths;
    absl::Span<const int> formats;
  };

  // A command without parameters that belongs to no change. `check` looks at its answer, which is
  // no error; what it returns other than OK is as final as an error: see Before(). `explain` says
  // what the server's error means; it may be missing.
  struct Step {
    std::string sql;
    std::function<absl::Status(const PGresult*)> check;
    std::function<absl::Status(const absl::Status&)> explain = {};
  };

  explicit Pipeline(Connection* connection) : connection_(connection) {}

  // Goes out before the next statement, without a round trip of its own, or with Drain(). Steps are
  // executed in order, and nothing behind one that fails: whatever Send() and the others then
  // return, up to and with Drain(), is that error, it has no failure(), and the session must go.
  void Before(Step step) { steps_.push_back(std::move(step)); }

  // Each enters pipeline mode if it is off. An error means that the batch has failed: see failure()
  // and call Recover().
  absl::Status Prepare(const std::string& name, const std::string& sql, absl::Span<const Oid> types,
                       size_t change);
  absl::Status Send(const std::string& name, const Values& values, const Expected& expected);

  // COPY FROM STDIN, after waiting for what was sent before. In between Connection::CopyWrite().
  // `changes` are those of the rows; `first` is who is blamed if the command itself is refused.
  absl::Status BeginCopy(const std::string& sql, size_t first);
  absl::Status EndCopy(std::vector<uint32_t> changes);

  // Writes out all that libpq holds and asks for its answers, without waiting for them.
  absl::Status Push();
  // Reads what answers come within `wait_max`. True: none is missing to what was pushed, or one of
  // them is an error, which whatever is called next returns. kCancelled: shutting down.
  absl::StatusOr<bool> AwaitAnswers(absl::Duration wait_max);
  // Waits for every answer and leaves pipeline mode.
  absl::Status Drain();
  // After a failure: takes the answers that are still to come, so that the session can be used for
  // ROLLBACK and more. An error: the session is lost.
  absl::Status Recover();
  // The same after a step has failed, for a last look with the session; steps that are not sent yet
  // never are.
  absl::Status RecoverFromStep();
  // After Recover(), when the transaction has been rolled back to before what was sent.
  void Reset();

  // Whether answers to statements were missing when answers were last read.
  bool is_waiting() const { return !pending_.empty(); }
  // Nothing: the connection was lost, or a wait was cancelled.
  const std::optional<ApplyFailure>& failure() const { return failure_; }
  // Rows that a statement with rows_min == 0 did not find.
  int64_t missed_rows() const { return missed_rows_; }
  void set_missed_rows(int64_t rows) { missed_rows_ = rows; }  // as before what is undone

 private:
  struct Pending {
    Expected expected;
    bool is_sync = false;
    bool counts_rows = false;
    std::optional<Step> step;
  };

  absl::Status Enter();
  absl::Status SendSteps();
  // `more` may be empty; `change`: whose failure it is if that is refused.
  absl::Status ExecSteps(const std::string& more, size_t change);
  absl::Status FinishCopy();
  absl::Status CheckStep(const Step& step, const PGresult* result);
  absl::Status AfterSend(size_t bytes);
  absl::Status Exchange(size_t pending_max);
  absl::Status ReadResults();
  void Check(const PGresult* result, const Pending& pending);

  Connection* connection_;
  std::deque<Step> steps_;  // not sent yet
  std::deque<Pending> pending_;
  absl::Status fatal_;                  // of a step
  bool is_copying_ = false;             // the end of a COPY was sent, and its answer is missing
  std::vector<uint32_t> copy_changes_;  // of its rows
  bool is_unsynced_ = false;            // something was sent behind the last sync
  size_t unflushed_statements_ = 0;
  size_t unflushed_bytes_ = 0;
  std::optional<ApplyFailure> failure_;
  bool is_recovering_ = false;
  int64_t missed_rows_ = 0;
};

// The row number in a COPY error's context ("COPY orders, line 12"), from 1; 0 if there is none.
size_t LineOfCopyContext(absl::string_view context);

// One statement with such parameters, outside of pipeline mode.
absl::StatusOr<Result> AskWithValues(Connection& connection, const std::string& sql,
                                     absl::Span<const Oid> types, const Pipeline::Values& values);

}  // namespace towline
