#include "sim/source.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace towline::sim {
namespace {

constexpr uint64_t kRecordBytes = 50;  // as FrameBuilder has it
constexpr size_t kOpenMax = 4;
constexpr size_t kKeys = 6;

bool Touches(const Change& change, size_t table, uint64_t row) {
  if (!change.truncated.empty()) {
    return std::count(change.truncated.begin(), change.truncated.end(), table) > 0;
  }
  return change.table == table && (row == 0 || change.row == row);
}

bool IsLarge(const std::optional<std::string>& value) {
  return value.has_value() && value->size() > 20;
}

void AppendLength(int32_t length, std::string* image) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    image->push_back(static_cast<char>((static_cast<uint32_t>(length) >> shift) & 0xff));
  }
}

}  // namespace

void Apply(const Change& change, size_t table, std::map<uint64_t, Row>* rows) {
  if (!Touches(change, table, 0)) return;
  if (!change.truncated.empty()) {
    rows->clear();
  } else if (change.after.has_value()) {
    (*rows)[change.row] = *change.after;
  } else {
    rows->erase(change.row);
  }
}

Source::Source(Dice* dice) : dice_(dice) {
  for (size_t table = 0; table < kTables.size(); ++table) {
    for (size_t i = 0; i < 4; ++i) {
      Row row = AnyRow(table, std::nullopt);
      bool is_there = false;
      for (const auto& [number, other] : initial_[table]) {
        is_there |= KeyOf(kTables[table], other) == KeyOf(kTables[table], row) &&
                    kTables[table].key_columns > 0;
      }
      if (!is_there) initial_[table][next_row_++] = row;
    }
  }
  now_ = initial_;
}

// --- what the sessions do

// With few values, so that they meet. A value that is unique is mostly a new one.
Row Source::AnyRow(size_t table, const std::optional<Row>& before) {
  const Table& spec = kTables[table];
  Row row(spec.columns);
  for (size_t i = 0; i < spec.columns; ++i) {
    const bool is_last = i + 1 == spec.columns;
    if (before.has_value() && !dice_->OneIn(i < spec.key_columns ? 4 : 2)) {
      row[i] = (*before)[i];
    } else if (i < spec.key_columns) {
      row[i] = absl::StrCat("k", dice_->Below(spec.key_columns > 1 ? 3 : kKeys));
    } else if (spec.unique_column == static_cast<int>(i)) {
      if (!dice_->OneIn(5)) row[i] = absl::StrCat("u", dice_->Below(6));
    } else if (spec.key_columns == 0) {
      row[i] = absl::StrCat("v", dice_->Below(3),
                            is_last && dice_->OneIn(2) ? std::string(30, 'x') : "");
    } else if (is_last && !dice_->OneIn(5)) {
      row[i] = absl::StrCat("large", next_value_++, std::string(20, '.'));
    } else if (!dice_->OneIn(6)) {
      row[i] = absl::StrCat("v", next_value_++);
    }
  }
  return row;
}

void Source::Log(Record record) {
  record.lsn = next_lsn_;
  next_lsn_ += kRecordBytes;
  log_.push_back(std::move(record));
}

// By another one, until that is seen to have ended. Row 0: any of the table.
bool Source::IsLocked(size_t table, uint64_t row, const Transaction& own) const {
  for (const std::vector<Transaction>* some : {&open_, &prepared_, &committed_}) {
    for (const Transaction& other : *some) {
      if (other.xid == own.xid || other.has_ended) continue;
      for (const Change& change : other.changes) {
        if (Touches(change, table, row)) return true;
      }
    }
  }
  return false;
}

// By a row that is there, or that somebody may bring back or take away yet.
bool Source::IsValueTaken(size_t table, size_t column, const std::string& value,
                          const Transaction& own) const {
  for (const std::vector<Transaction>* some : {&open_, &prepared_, &committed_}) {
    for (const Transaction& other : *some) {
      if (other.xid == own.xid || other.has_ended) continue;
      for (const Change& change : other.changes) {
        if (change.table != table || !change.truncated.empty()) continue;
        if (change.before.has_value() && (*change.before)[column] == value) return true;
        if (change.after.has_value() && (*change.after)[column] == value) return true;
      }
    }
  }
  return false;
}

std::map<uint64_t, Row> Source::Now(size_t table, const Transaction& own) const {
  std::map<uint64_t, Row> rows = now_[table];
  for (const Change& change : own.changes) Apply(change, table, &rows);
  return rows;
}

void Source::Step(bool is_closing) {
  if (!prepared_.empty() && dice_->OneIn(is_closing ? 2 : 8)) return EndPrepared();
  if (open_.empty() || (open_.size() < kOpenMax && dice_->OneIn(4))) {
    if (!is_closing) Begin();
    return;
  }
  const size_t index = dice_->Below(open_.size());
  Transaction* transaction = &open_[index];
  switch (dice_->Below(is_closing ? 2 : 12)) {
    case 0:
    case 1:
      return End(index);
    case 2: {
      const uint64_t subxid = next_xid_++;
      transaction->savepoints.push_back({subxid, transaction->changes.size(), false});
      return;
    }
    case 3:
      return RollBackToSavepoint(transaction);
    case 4:
      if (dice_->OneIn(3)) return Truncate(transaction);
      if (!transaction->savepoints.empty()) transaction->savepoints.back().is_released = true;
      return;
    default:
      return Write(transaction);
  }
}

void Source::Begin() {
  Transaction transaction;
  transaction.xid = next_xid_++;
  open_.push_back(std::move(transaction));
}

void Source::Write(Transaction* transaction) {
  Change change;
  change.table = dice_->Below(kTables.size());
  const Table& spec = kTables[change.table];
  for (const std::vector<Transaction>* some : {&open_, &prepared_, &committed_}) {
    for (const Transaction& other : *some) {
      if (other.xid == transaction->xid || other.has_ended) continue;
      for (const Change& others : other.changes) {
        if (!others.truncated.empty() && Touches(others, change.table, 0)) return;
      }
    }
  }
  const std::map<uint64_t, Row> own = Now(change.table, *transaction);
  if (!own.empty() && !dice_->OneIn(3)) {
    auto at = own.begin();
    std::advance(at, static_cast<ptrdiff_t>(dice_->Below(own.size())));
    if (IsLocked(change.table, at->first, *transaction)) return;
    change.row = at->first;
    change.before = at->second;
    if (!dice_->OneIn(4)) change.after = AnyRow(change.table, change.before);
  } else {
    change.row = next_row_++;
    change.after = AnyRow(change.table, std::nullopt);
  }
  if (change.after.has_value()) {
    // No other row may have its key, or its unique value.
    for (const auto& [number, other] : own) {
      if (number == change.row) continue;
      if (spec.key_columns > 0 && KeyOf(spec, other) == KeyOf(spec, *change.after)) return;
      if (spec.unique_column < 0) continue;
      const auto column = static_cast<size_t>(spec.unique_column);
      if ((*change.after)[column].has_value() && other[column] == (*change.after)[column]) return;
    }
    // Those that others have written or left without having ended.
    for (const std::vector<Transaction>* some : {&open_, &prepared_, &committed_}) {
      for (const Transaction& other : *some) {
        if (other.xid == transaction->xid || other.has_ended) continue;
        for (const Change& others : other.changes) {
          if (others.table != change.table || spec.key_columns == 0 || !others.truncated.empty())
            continue;
          for (const std::optional<Row>& row : {others.before, others.after}) {
            if (row.has_value() && KeyOf(spec, *row) == KeyOf(spec, *change.after)) return;
          }
        }
      }
    }
    if (spec.unique_column >= 0) {
      const auto column = static_cast<size_t>(spec.unique_column);
      const std::optional<std::string>& value = (*change.after)[column];
      if (value.has_value() && IsValueTaken(change.table, column, *value, *transaction)) return;
    }
  }
  change.subxid = transaction->xid;
  for (const Transaction::Savepoint& savepoint : transaction->savepoints) {
    if (!savepoint.is_released) change.subxid = savepoint.subxid;
  }
  transaction->changes.push_back(change);
  Log({.kind = Kind::kChange, .xid = transaction->xid, .change = change, .subxids = {}, .gid = ""});
}

void Source::Truncate(Transaction* transaction) {
  Change change;
  for (size_t table = 0; table < kTables.size(); ++table) {
    if (dice_->OneIn(3) && !IsLocked(table, 0, *transaction)) change.truncated.push_back(table);
  }
  if (change.truncated.empty()) return;
  change.table = change.truncated.front();
  change.subxid = transaction->xid;
  for (const Transaction::Savepoint& savepoint : transaction->savepoints) {
    if (!savepoint.is_released) change.subxid = savepoint.subxid;
  }
  transaction->changes.push_back(change);
  Log({.kind = Kind::kChange, .xid = transaction->xid, .change = change, .subxids = {}, .gid = ""});
}

// To one that is not released; with it goes all that was begun since.
void Source::RollBackToSavepoint(Transaction* transaction) {
  std::vector<size_t> held;
  for (size_t i = 0; i < transaction->savepoints.size(); ++i) {
    if (!transaction->savepoints[i].is_released) held.push_back(i);
  }
  if (held.empty()) return;
  const size_t at = held[dice_->Below(held.size())];
  Record record{.kind = Kind::kSavepointAbort,
                .xid = transaction->xid,
                .change = {},
                .subxids = {},
                .gid = ""};
  for (size_t i = transaction->savepoints.size(); i-- > at;) {
    record.subxids.push_back(transaction->savepoints[i].subxid);
  }
  transaction->changes.resize(transaction->savepoints[at].first_change);
  transaction->savepoints.resize(at);
  Log(std::move(record));
}

void Source::Finish(Transaction transaction, uint64_t lsn) {
  transaction.commit_lsn = lsn;
  transaction.end_lsn = lsn + kRecordBytes;
  for (const Change& change : transaction.changes) {
    for (size_t table = 0; table < kTables.size(); ++table) Apply(change, table, &now_[table]);
  }
  committed_.push_back(std::move(transaction));
}

void Source::End(size_t index) {
  Transaction transaction = std::move(open_[index]);
  open_.erase(open_.begin() + static_cast<ptrdiff_t>(index));
  const uint64_t lsn = next_lsn_;
  Record record{
      .kind = Kind::kCommit, .xid = transaction.xid, .change = {}, .subxids = {}, .gid = ""};
  if (dice_->OneIn(6)) {
    record.kind = Kind::kAbort;
    aborted_.push_back(std::move(transaction));
  } else if (dice_->OneIn(4) && !transaction.changes.empty()) {
    record.kind = Kind::kPrepare;
    transaction.gid = record.gid = absl::StrCat("gid ", transaction.xid);
    transaction.is_prepared = true;
    prepared_.push_back(std::move(transaction));
  } else {
    Finish(std::move(transaction), lsn);
  }
  Log(std::move(record));
}

void Source::EndPrepared() {
  const size_t index = dice_->Below(prepared_.size());
  Transaction transaction = std::move(prepared_[index]);
  prepared_.erase(prepared_.begin() + static_cast<ptrdiff_t>(index));
  Record record{.kind = Kind::kCommitPrepared,
                .xid = transaction.xid,
                .change = {},
                .subxids = {},
                .gid = transaction.gid};
  const uint64_t lsn = next_lsn_;
  if (dice_->OneIn(3)) {
    record.kind = Kind::kRollbackPrepared;
    aborted_.push_back(std::move(transaction));
  } else {
    Finish(std::move(transaction), lsn);
  }
  Log(std::move(record));
}

void Source::EndSome() {
  for (Transaction& transaction : committed_) {
    if (!transaction.has_ended && dice_->OneIn(2)) transaction.has_ended = true;
  }
}

void Source::EndAll() {
  for (Transaction& transaction : committed_) transaction.has_ended = true;
}

Seen Source::TakeSnapshot() const {
  Seen seen;
  std::set<uint64_t> running;
  for (const std::vector<Transaction>* some : {&open_, &prepared_}) {
    for (const Transaction& transaction : *some) running.insert(transaction.xid);
  }
  for (const Transaction& transaction : committed_) {
    if (transaction.has_ended) {
      seen.xids.insert(transaction.xid);
    } else {
      running.insert(transaction.xid);
    }
  }
  const uint64_t xmin = running.empty() ? next_xid_ : *running.begin();
  seen.text = absl::StrCat(xmin, ":", next_xid_, ":", absl::StrJoin(running, ","));
  seen.lsn_after = next_lsn_;
  return seen;
}

// --- the walsender

void Source::StartReplication(uint64_t position, bool switches_two_phase, bool streams) {
  start_ = std::max(position, confirmed_);
  if (switches_two_phase && !is_two_phase_) {
    is_two_phase_ = true;
    two_phase_at_ = start_;
  }
  streams_ = streams;
  read_ = 0;
  sent_lsn_ = start_;
  has_greeted_ = false;
  decoded_.clear();
  described_.clear();
  next_number_ = 1;
  out_.clear();
}

std::optional<Received> Source::Send() {
  if (out_.empty()) {
    if (read_ < log_.size()) {
      const Record record = log_[read_++];
      Decode(record);
      sent_lsn_ = std::max(sent_lsn_, record.lsn + kRecordBytes);
    }
    // A keepalive, whose position lies behind all that was sent.
    if (dice_->OneIn(4)) {
      Received progress;
      progress.wal_end = {sent_lsn_};
      out_.push_back(std::move(progress));
    }
  }
  if (out_.empty()) return std::nullopt;
  Received next = std::move(out_.front());
  out_.pop_front();
  return next;
}

FrameBuilder Source::NewFrame() {
  FrameBuilder frame;
  if (!has_greeted_) frame.Hello(4);
  has_greeted_ = true;
  return frame;
}

void Source::Flush(FrameBuilder* frame) {
  Received received;
  received.kind = Received::Kind::kFrame;
  received.frame = frame->Build();
  out_.push_back(std::move(received));
  // Within a transaction too the server says how far it had come before.
  if (dice_->OneIn(10)) {
    Received progress;
    progress.wal_end = {sent_lsn_};
    out_.push_back(std::move(progress));
  }
  *frame = NewFrame();
}

uint32_t Source::Describe(size_t table, FrameBuilder* frame) {
  auto found = described_.find(table);
  if (found != described_.end() && !dice_->OneIn(40)) return found->second;
  const Table& spec = kTables[table];
  const uint32_t number = next_number_++;
  v1::Relation relation =
      TextRelation(number, spec.name, static_cast<int>(spec.columns),
                   static_cast<int>(spec.is_full ? spec.columns : spec.key_columns));
  relation.set_oid(spec.oid);
  relation.set_root_oid(spec.oid);
  if (spec.is_full) relation.set_replica_identity(v1::Relation::FULL);
  frame->Describe(relation);
  described_[table] = number;
  return number;
}

// The first `columns` of the row. Values that are large come in parts now and then; of a new row
// those that did not change do not come.
void Source::AddImage(const Row& row, const std::optional<Row>& before, size_t columns, bool is_new,
                      FrameBuilder* frame, std::string* image) {
  image->push_back(0);
  image->push_back(static_cast<char>(columns));
  for (size_t i = 0; i < columns; ++i) {
    if (!row[i].has_value()) {
      AppendLength(-1, image);
    } else if (is_new && IsLarge(row[i]) && before.has_value() && (*before)[i] == row[i]) {
      AppendLength(-2, image);
    } else if (IsLarge(row[i]) && dice_->OneIn(8)) {
      AppendLength(-3, image);
      const size_t cut = 1 + dice_->Below(row[i]->size() - 1);
      frame->Part(row[i]->size(), row[i]->substr(0, cut), false);
      if (dice_->OneIn(3)) Flush(frame);
      frame->Part(0, row[i]->substr(cut), true);
    } else {
      AppendLength(static_cast<int32_t>(row[i]->size()), image);
      *image += *row[i];
    }
  }
}

void Source::AddChange(const Change& change, FrameBuilder* frame) {
  if (!change.truncated.empty()) {
    std::vector<uint32_t> numbers;
    for (size_t table : change.truncated) numbers.push_back(Describe(table, frame));
    frame->Truncate(numbers);
    return;
  }
  const Table& spec = kTables[change.table];
  const uint32_t number = Describe(change.table, frame);
  std::string old_row;
  v1::OldImage old_image = v1::NONE;
  if (change.before.has_value()) {
    const bool is_moved =
        !change.after.has_value() || KeyOf(spec, *change.before) != KeyOf(spec, *change.after);
    if (spec.is_full) {
      old_image = v1::FULL;
      AddImage(*change.before, std::nullopt, spec.columns, false, frame, &old_row);
    } else if (is_moved) {
      old_image = v1::KEY;
      AddImage(*change.before, std::nullopt, spec.key_columns, false, frame, &old_row);
    }
  }
  if (!change.after.has_value()) {
    frame->Delete(number, old_image, old_row);
    return;
  }
  std::string new_row;
  AddImage(*change.after, change.before, spec.columns, true, frame, &new_row);
  if (change.before.has_value()) {
    frame->Update(number, new_row, old_image, old_row);
  } else {
    frame->Insert(number, new_row);
  }
}

void Source::SendRun(uint64_t xid, Decoded* decoded) {
  FrameBuilder frame = NewFrame();
  frame.StreamStart(xid, !decoded->is_streamed);
  uint64_t subxid = xid;
  for (const Change& change : decoded->changes) {
    if (change.subxid != subxid) frame.Subtransaction(change.subxid);
    subxid = change.subxid;
    decoded->streamed_subxids.insert(subxid);
    AddChange(change, &frame);
    ++decoded->sent;
    if (dice_->OneIn(4)) Flush(&frame);
  }
  frame.StreamStop(xid);
  Flush(&frame);
  has_greeted_ = true;
  decoded->is_streamed = true;
  decoded->changes.clear();
}

void Source::SendWhole(const Record& record, Decoded* decoded, bool as_prepared) {
  const uint64_t lsn = as_prepared ? decoded->prepare_lsn : record.lsn;
  if (decoded->is_streamed) {
    if (!decoded->changes.empty()) SendRun(record.xid, decoded);
    FrameBuilder frame = NewFrame();
    if (as_prepared) {
      v1::StreamPrepare* prepare = frame.Add()->mutable_stream_prepare();
      prepare->set_xid(record.xid);
      prepare->set_prepare_lsn(lsn);
      prepare->set_end_lsn(lsn + kRecordBytes);
      prepare->set_prepare_time(1);
      prepare->set_change_count(decoded->sent);
      prepare->set_gid(decoded->gid);
    } else {
      frame.StreamCommit(record.xid, lsn, decoded->sent);
    }
    return Flush(&frame);
  }
  // One with nothing to send is not sent; a prepared one is, since its end will be.
  if (decoded->changes.empty() && !as_prepared) return;
  FrameBuilder frame = NewFrame();
  if (as_prepared) {
    frame.BeginPrepare(record.xid, lsn, decoded->gid);
  } else {
    frame.Begin(record.xid, lsn);
  }
  for (const Change& change : decoded->changes) {
    AddChange(change, &frame);
    if (dice_->OneIn(3)) Flush(&frame);
  }
  if (as_prepared) {
    frame.Prepare(record.xid, lsn, decoded->changes.size());
  } else {
    frame.Commit(record.xid, lsn, decoded->changes.size());
  }
  Flush(&frame);
}

// What has its record before `start_` was sent to somebody before, and confirmed.
void Source::Decode(const Record& record) {
  Decoded& decoded = decoded_[record.xid];
  const bool is_due = record.lsn >= start_;
  switch (record.kind) {
    case Kind::kChange:
      decoded.changes.push_back(record.change);
      break;
    case Kind::kSavepointAbort:
      for (uint64_t subxid : record.subxids) {
        std::erase_if(decoded.changes,
                      [subxid](const Change& change) { return change.subxid == subxid; });
        if (!decoded.streamed_subxids.contains(subxid)) continue;
        FrameBuilder frame = NewFrame();
        frame.StreamAbort(record.xid, subxid);
        Flush(&frame);
      }
      break;
    case Kind::kAbort:
      if (decoded.is_streamed) {
        FrameBuilder frame = NewFrame();
        frame.StreamAbort(record.xid, record.xid);
        Flush(&frame);
      }
      decoded_.erase(record.xid);
      break;
    case Kind::kCommit:
      if (is_due) SendWhole(record, &decoded, false);
      decoded_.erase(record.xid);
      break;
    case Kind::kPrepare:
      decoded.prepare_lsn = record.lsn;
      decoded.gid = record.gid;
      if (is_two_phase_ && is_due) {
        SendWhole(record, &decoded, true);
        decoded.changes.clear();
        decoded.is_streamed = false;
      }
      break;
    case Kind::kCommitPrepared:
    case Kind::kRollbackPrepared: {
      const bool commits = record.kind == Kind::kCommitPrepared;
      if (is_due && !is_two_phase_ && commits) SendWhole(record, &decoded, false);
      if (is_due && !is_two_phase_ && !commits && decoded.is_streamed) {
        FrameBuilder frame = NewFrame();
        frame.StreamAbort(record.xid, record.xid);
        Flush(&frame);
      }
      if (is_due && is_two_phase_) {
        if (commits && decoded.prepare_lsn < two_phase_at_) SendWhole(record, &decoded, true);
        FrameBuilder frame = NewFrame();
        if (commits) {
          frame.CommitPrepared(record.xid, record.lsn, record.gid);
        } else {
          frame.RollbackPrepared(record.xid, decoded.prepare_lsn, record.lsn, record.gid);
        }
        Flush(&frame);
      }
      decoded_.erase(record.xid);
      break;
    }
  }
  // Memory is full now and then.
  if (!streams_ || !is_due || !dice_->OneIn(6)) return;
  std::vector<uint64_t> candidates;
  for (const auto& [xid, some] : decoded_) {
    if (!some.changes.empty()) candidates.push_back(xid);
  }
  if (candidates.empty()) return;
  const uint64_t xid = candidates[dice_->Below(candidates.size())];
  SendRun(xid, &decoded_[xid]);
}

}  // namespace towline::sim
