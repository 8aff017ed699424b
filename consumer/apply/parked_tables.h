// The tables that have left the stream, while schema changes are followed: known by the source's
// OID, because a parked table may be renamed, and by name where the OID is not known yet. Their
// rows are taken out of each batch; towline_state.piece says the same and is written in the open
// transaction, so a crash leaves both or neither.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/batch.h"
#include "model/failed_table.h"
#include "pg/connection.h"
#include "state/position.h"

namespace towline {

class ParkedTables {
 public:
  using Listener = std::function<void(const std::vector<TableName>& parked)>;

  // Borrows the connection. `on_change` may be empty.
  ParkedTables(Connection* connection, TaskClaim claim, const std::vector<FailedTable>& parked,
               Listener on_change);

  bool Contains(const TableName& table) const { return oids_.contains(table); }
  // Of the source's table, at the source.
  std::optional<TableName> NameOf(Oid source_oid) const;
  bool Holds(const Relation& relation) const;
  bool empty() const { return oids_.empty(); }

  // In the open transaction; an OID of 0 is not known.
  absl::Status Add(const FailedTable& table);
  // The source has dropped it: the piece itself is the caller's.
  void Remove(const TableName& table);
  // It has another name, in the open transaction.
  absl::Status RenameSchema(const std::string& before, const std::string& now);
  absl::Status Rename(Oid source_oid, const TableName& now);

 private:
  void Tell() const;

  Connection* connection_;
  TaskClaim claim_;
  Listener on_change_;
  std::map<TableName, Oid> oids_;
  std::set<Oid> by_oid_;
};

// The batch without the changes of some relations; nothing: it has none of them.
std::optional<Batch> WithoutRelations(const Batch& batch,
                                      const std::function<bool(const Relation&)>& is_left_out);

}  // namespace towline
