#include "sim/destination.h"

#include <utility>

namespace towline::sim {

void Destination::Begin() {
  working_ = committed_.contents;
  delta_ = {};
  moves_to_.reset();
  noted_.clear();
  removed_.clear();
}

bool Destination::MovePosition(uint64_t epoch, uint64_t from, uint64_t to) {
  if (committed_.epoch != epoch || committed_.position != from) return false;
  moves_to_ = to;
  return true;
}

void Destination::Change(size_t table, const std::string& key, const Row& row, int count) {
  Counted& there = (*working_)[table][key];
  there.row = row;
  there.count += count;
  if (there.count == 0) (*working_)[table].erase(key);
  // Of a row that goes and comes the last values count.
  Counted& changed = delta_[table][key];
  if (count > 0) changed.row = row;
  changed.count += count;
}

bool Destination::Insert(size_t table, const Row& row) {
  const Table& spec = kTables[table];
  const Content& content = (*working_)[table];
  const std::string key = KeyOf(spec, row);
  if (spec.key_columns > 0 && content.contains(key)) return false;
  if (spec.unique_column >= 0) {
    const auto column = static_cast<size_t>(spec.unique_column);
    for (const auto& [other, counted] : content) {
      if (row[column].has_value() && counted.row[column] == row[column]) return false;
    }
  }
  Change(table, key, row, 1);
  return true;
}

bool Destination::Update(size_t table, const std::string& key, const Row& row,
                         const std::vector<bool>& is_given) {
  auto found = (*working_)[table].find(key);
  if (found == (*working_)[table].end()) return false;
  Row updated = found->second.row;
  for (size_t i = 0; i < row.size(); ++i) {
    if (is_given[i]) updated[i] = row[i];
  }
  return Delete(table, key) && Insert(table, updated);
}

bool Destination::Delete(size_t table, const std::string& key) {
  auto found = (*working_)[table].find(key);
  if (found == (*working_)[table].end()) return false;
  Change(table, key, Row(found->second.row), -1);
  return true;
}

void Destination::Truncate(size_t table) {
  const Content content = (*working_)[table];
  for (const auto& [key, counted] : content) Change(table, key, counted.row, -counted.count);
}

void Destination::Join(const Delta& delta, Stored* stored) {
  for (size_t table = 0; table < kTables.size(); ++table) {
    for (const auto& [key, changed] : delta[table]) {
      Counted& there = stored->contents[table][key];
      if (!changed.row.empty()) there.row = changed.row;
      there.count += changed.count;
      if (there.count == 0) stored->contents[table].erase(key);
    }
  }
}

void Destination::LookAgain() {
  Stored seen;
  seen.contents = committed_.contents;
  Join(delta_, &seen);
  working_ = std::move(seen.contents);
}

void Destination::RollBackToSavepoint() {
  working_ = saved_.first;
  delta_ = saved_.second;
}

void Destination::Settle() {
  if (!is_synchronous_) return;
  durable_ = committed_;
  before_.clear();
}

void Destination::Commit(bool is_synchronous) {
  Later(is_synchronous);
  Join(delta_, &committed_);
  if (moves_to_.has_value()) committed_.position = *moves_to_;
  for (const auto& [xid, is_empty] : noted_) committed_.prepared_rows[xid] = is_empty;
  for (uint64_t xid : removed_) committed_.prepared_rows.erase(xid);
  working_.reset();
  Settle();
}

void Destination::Prepare(uint64_t xid) {
  Later(true);
  committed_.prepared[xid] = delta_;
  working_.reset();
  Settle();
}

void Destination::EndPrepared(uint64_t xid, bool commits) {
  Later(true);
  if (commits) Join(committed_.prepared[xid], &committed_);
  committed_.prepared.erase(xid);
  committed_.ended[xid] = commits;
  Settle();
}

void Destination::WriteOut(Dice* dice) {
  if (before_.empty()) return;
  const size_t commits = 1 + dice->Below(before_.size());
  durable_ = commits == before_.size() ? committed_ : before_[commits];
  before_.erase(before_.begin(), before_.begin() + static_cast<ptrdiff_t>(commits));
}

void Destination::Crash() {
  working_.reset();
  committed_ = durable_;
  before_.clear();
}

}  // namespace towline::sim
