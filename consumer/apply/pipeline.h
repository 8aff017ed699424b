// Statements sent one behind the other without waiting for each one's answer (libpq's pipeline
// mode), inside the transaction that the caller has opened. Answers are read while sending, so
// neither side ever waits for the other to read; what is on the way is bounded in statements and in
// bytes. Every answer is checked: the first error, or row count that is not the expected one, is
// kept with the change it belongs to, and nothing more is sent.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "absl/status/status.h"
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

  explicit Pipeline(Connection* connection) : connection_(connection) {}

  // Each enters pipeline mode if it is off. An error means that the batch has failed: see failure()
  // and call Recover().
  absl::Status Prepare(const std::string& name, const std::string& sql, absl::Span<const Oid> types,
                       size_t change);
  absl::Status Send(const std::string& name, const Values& values, const Expected& expected);

  // Waits for every answer and leaves pipeline mode.
  absl::Status Drain();
  // After a failure: takes the answers that are still to come, so that the session can be used for
  // ROLLBACK and more. An error: the session is lost.
  absl::Status Recover();
  // After Recover(), when the transaction has been rolled back to before what was sent.
  void Reset();

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
  };

  absl::Status Enter();
  absl::Status AfterSend(size_t bytes);
  absl::Status Exchange(size_t pending_max);
  absl::Status ReadResults();
  void Check(const PGresult* result, const Pending& pending);

  Connection* connection_;
  std::deque<Pending> pending_;
  size_t unflushed_statements_ = 0;
  size_t unflushed_bytes_ = 0;
  std::optional<ApplyFailure> failure_;
  bool is_recovering_ = false;
  int64_t missed_rows_ = 0;
};

// One statement with such parameters, outside of pipeline mode.
absl::StatusOr<Result> AskWithValues(Connection& connection, const std::string& sql,
                                     absl::Span<const Oid> types, const Pipeline::Values& values);

}  // namespace towline
