// One worker of the copy: a session on either side and one part of a table at a time.
#pragma once

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "pg/connection.h"
#include "snapshot/copier.h"
#include "snapshot/copy_plan.h"
#include "snapshot/copy_reader.h"
#include "snapshot/copy_statements.h"
#include "state/position.h"

namespace towline {

class CopyWorker {
 public:
  struct Options {
    TaskClaim claim;
    int64_t lock_key = 0;                    // of the exported snapshot; 0: under one of its own
    LargeRowTurn* large_row_turn = nullptr;  // all workers'
    std::string source_role;                 // as the URI names it; may be empty
    RateLimit* rate_limit = nullptr;         // all workers'; null: none
    const Pace* pace = nullptr;              // likewise
    const Shutdown* stop = nullptr;          // ends a rest for its sake
  };

  // `source` is in a transaction under the exported snapshot. Both sessions are ours until the end.
  CopyWorker(Connection source, Connection destination, Options options, CopyProgress* progress)
      : source_(std::move(source)),
        destination_(std::move(destination)),
        options_(std::move(options)),
        progress_(progress) {}

  // Copies the part in one destination transaction, which `mark` ends; gives its rows. Errors name
  // the table.
  using Mark = absl::FunctionRef<absl::Status(Connection& destination, int64_t rows)>;
  absl::StatusOr<int64_t> CopyPartOf(const Table& table, const CopyTarget& target,
                                     const CopyPart& part, Mark mark);

  // Lets go of the locks at the source. They may be more than the tables' (reading takes those of
  // indexes), and a REINDEX that waits for one would keep the other workers waiting.
  absl::Status EndReading() { return source_.Exec("COMMIT").status(); }

  // Marks a table of so many rows, whose parts are all committed, by `mark` in a transaction.
  absl::Status MarkTable(int64_t rows, Mark mark);

  Connection& source() { return source_; }
  Connection& destination() { return destination_; }

 private:
  class PartProgress;
  absl::StatusOr<int64_t> CopyRows(const Table& table, const CopyTarget& target,
                                   const CopyPart& part, PartProgress& progress);
  absl::StatusOr<int64_t> CopyRowsCarefully(const Table& table, const CopyTarget& target,
                                            const CopyPart& part);
  absl::Status RefuseInexact(const Table& table, const CopyTarget& target, const CopyPart& part);
  absl::Status Pump(PartProgress& progress);
  absl::Status Rest(int64_t bytes, int64_t rows, absl::Time began);
  absl::Status CheckTable(const Table& table);
  absl::Status InTransaction(absl::FunctionRef<absl::Status()> work);

  Connection source_;
  Connection destination_;
  Options options_;
  CopyProgress* progress_;  // outlives us
};

}  // namespace towline
