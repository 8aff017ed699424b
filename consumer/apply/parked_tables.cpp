#include "apply/parked_tables.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/status_macros.h"
#include "state/parked_piece.h"

namespace towline {
namespace {

// TRUNCATE of several tables goes on with the others. Gives whether anything is left of the change.
bool KeepOthers(const std::function<bool(const Relation&)>& is_left_out, Change* change) {
  if (change->truncated == nullptr) return !is_left_out(*change->relation);
  std::vector<const Relation*> others;
  for (const Relation* relation : *change->truncated) {
    if (!is_left_out(*relation)) others.push_back(relation);
  }
  if (others.empty()) return false;
  change->relation = others.front();
  change->truncated = std::make_shared<const std::vector<const Relation*>>(std::move(others));
  return true;
}

bool IsTouched(const std::function<bool(const Relation&)>& is_left_out, const Change& change) {
  if (change.truncated == nullptr) return is_left_out(*change.relation);
  return std::any_of(change.truncated->begin(), change.truncated->end(),
                     [&](const Relation* relation) { return is_left_out(*relation); });
}

}  // namespace

ParkedTables::ParkedTables(Connection* connection, TaskClaim claim,
                           const std::vector<FailedTable>& parked, Listener on_change)
    : connection_(connection), claim_(std::move(claim)), on_change_(std::move(on_change)) {
  for (const FailedTable& table : parked) {
    oids_[table.name] = table.source_oid;
    if (table.source_oid != 0) by_oid_.insert(table.source_oid);
  }
}

std::optional<TableName> ParkedTables::NameOf(Oid source_oid) const {
  for (const auto& [name, oid] : oids_) {
    if (oid == source_oid && oid != 0) return name;
  }
  return std::nullopt;
}

bool ParkedTables::Holds(const Relation& relation) const {
  if (oids_.empty()) return false;
  const Oid written = relation.rewrite_of != 0 ? relation.rewrite_of : relation.oid;
  if (by_oid_.contains(written) || by_oid_.contains(relation.root_oid)) return true;
  if (relation.rewrite_of != 0) return false;
  auto named = oids_.find(relation.name);
  return named != oids_.end() && named->second == 0;
}

absl::Status ParkedTables::Add(const FailedTable& table) {
  TOWLINE_RETURN_IF_ERROR(ParkPiece(*connection_, claim_, table, /*rule=*/"",
                                    "a schema change that was not carried: towline ddl list"));
  oids_[table.name] = table.source_oid;
  if (table.source_oid != 0) by_oid_.insert(table.source_oid);
  Tell();
  return absl::OkStatus();
}

void ParkedTables::Remove(const TableName& table) {
  auto found = oids_.find(table);
  if (found == oids_.end()) return;
  by_oid_.erase(found->second);
  oids_.erase(found);
  Tell();
}

absl::Status ParkedTables::Rename(Oid source_oid, const TableName& now) {
  std::optional<TableName> before = NameOf(source_oid);
  if (!before.has_value() || *before == now) return absl::OkStatus();
  oids_.erase(*before);
  oids_[now] = source_oid;
  Tell();
  return RenamePiece(*connection_, claim_, *before, now);
}

absl::Status ParkedTables::RenameSchema(const std::string& before, const std::string& now) {
  std::map<TableName, Oid> renamed;
  for (const auto& [name, oid] : oids_) {
    const bool is_in_it = name.schema == before;
    const TableName then{is_in_it ? now : name.schema, name.name};
    if (is_in_it) TOWLINE_RETURN_IF_ERROR(RenamePiece(*connection_, claim_, name, then));
    renamed[then] = oid;
  }
  if (renamed == oids_) return absl::OkStatus();
  oids_ = std::move(renamed);
  Tell();
  return absl::OkStatus();
}

void ParkedTables::Tell() const {
  if (!on_change_) return;
  std::vector<TableName> names;
  for (const auto& [name, oid] : oids_) names.push_back(name);
  on_change_(names);
}

std::optional<Batch> WithoutRelations(const Batch& batch,
                                      const std::function<bool(const Relation&)>& is_left_out) {
  if (std::none_of(batch.changes.begin(), batch.changes.end(),
                   [&](const Change& change) { return IsTouched(is_left_out, change); })) {
    return std::nullopt;
  }
  Batch kept;
  kept.part = batch.part;
  kept.two_phase = batch.two_phase;
  kept.prepared_xid = batch.prepared_xid;
  kept.prepared_gid = batch.prepared_gid;
  kept.end_lsn = batch.end_lsn;
  kept.transactions = batch.transactions;
  auto mark = kept.transactions.begin();
  for (size_t i = 0; i < batch.changes.size(); ++i) {
    while (mark != kept.transactions.end() && mark->first_change <= i) {
      (mark++)->first_change = kept.changes.size();
    }
    Change change = batch.changes[i];
    if (KeepOthers(is_left_out, &change)) kept.changes.push_back(std::move(change));
  }
  return kept;
}

}  // namespace towline
