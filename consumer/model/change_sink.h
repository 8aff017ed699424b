// Where decode puts what it reads; assemble implements it, run joins the two.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/change.h"
#include "model/ddl.h"
#include "model/name.h"
#include "model/oid.h"

namespace towline {

// Receives what a frame holds, in order.
class ChangeSink {
 public:
  virtual ~ChangeSink() = default;
  virtual absl::Status OnBegin(const TransactionHeader& header) = 0;
  // By which subtransaction of the open transaction, or by itself, the changes that follow were
  // made, where the source says so: of some changes that it does not, the one before stands. 64
  // bits.
  virtual void OnSubtransaction(uint64_t xid) = 0;
  virtual absl::Status OnChange(Change change) = 0;
  // A command that the source ran in the open transaction.
  virtual absl::Status OnDdl(DdlCommand command) = 0;
  // The open transaction has written all rows of a table anew (ALTER TABLE), and they do not come.
  virtual absl::Status OnRewrite(const TableName& table, Oid source_oid) = 0;
  // `spliced` was put together from value parts; changes that follow may point into it. Its owner
  // is the sink from now on.
  virtual absl::string_view KeepSplicedRow(std::string spliced) = 0;
  // The end of a transaction; of one with a gid its PREPARE.
  virtual absl::Status OnCommit(const TransactionHeader& header) = 0;
  // COMMIT PREPARED or ROLLBACK PREPARED of a transaction that may have been sent long before, in
  // another connection. The header's LSNs are this record's.
  virtual absl::Status OnPreparedEnd(const TransactionHeader& header, PreparedFate fate) = 0;
};

}  // namespace towline
