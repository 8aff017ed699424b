// The careful way of copying a part of a table: for one that has a row which the server cannot put
// together as COPY sends it, in one piece of less than 1 GB (several large columns, a bytea of more
// than 512 MB among text).
//
// Rows go by COPY until the server fails, which says nothing about the row. But a plain scan gives
// rows in the order of their places, so what has arrived is complete and the next one is the row.
// It is fetched column by column into a staging table at the destination, put together there, and
// COPY goes on behind it. What cannot be fetched even so is refused with its table, key hash and
// size.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/table.h"
#include "pg/connection.h"
#include "snapshot/copy_plan.h"
#include "snapshot/copy_reader.h"
#include "snapshot/copy_statements.h"
#include "state/value_staging.h"

namespace towline {

// The savepoint at the source behind which a part is read.
inline constexpr char kPartSavepoint[] = "towline_part";

class LargeRowCopier {
 public:
  // The source's transaction has the savepoint and may have failed behind it, the destination's is
  // open and has nothing of the part. All outlive us.
  LargeRowCopier(Connection* source, Connection* destination, LargeRowTurn* turn,
                 const Table* table, const CopyTarget* target)
      : source_(source), destination_(destination), turn_(turn), table_(table), target_(target) {}

  // Copies the part; gives its rows. The error of a single row is kUnimplemented.
  absl::StatusOr<int64_t> Copy(CopyPart part);

 private:
  absl::Status BeginAgain();
  absl::StatusOr<bool> CopyUntilTooLarge(const CopyPart& part, int64_t* rows);
  absl::Status Pump();
  absl::Status CopyRow(const std::string& place);
  absl::Status CopyValue(const std::string& place, size_t column);
  absl::Status Refuse(const absl::Status& status, const std::string& place);
  absl::StatusOr<std::string> DescribeRow(const std::string& place);

  Connection* source_;
  Connection* destination_;
  LargeRowTurn* turn_;
  const Table* table_;
  const CopyTarget* target_;
  const ValueStaging* staging_ = nullptr;
  bool has_sent_ = false;  // anything of the COPY at hand
};

}  // namespace towline
