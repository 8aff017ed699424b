#include "assemble/assembler.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "model/live_copy.h"

namespace towline {
namespace {

constexpr size_t kNeverInlineBytes = 64;

template <typename Container>
void MoveTail(Container* from, size_t first, Container* to) {
  auto begin = std::next(from->begin(), static_cast<ptrdiff_t>(first));
  std::move(begin, from->end(), std::back_inserter(*to));
  from->erase(begin, from->end());
}

int64_t OlderOf(int64_t a, int64_t b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

}  // namespace

Assembler::Assembler(Options options)
    : options_(std::move(options)),
      whole_end_lsn_(options_.position),
      taken_lsn_(options_.position) {
  if (!options_.boundary.has_value()) return;
  for (const CopySnapshot& snapshot : options_.boundary->snapshots) {
    copied_until_ = std::max(copied_until_, snapshot.lsn_after);
  }
}

void Assembler::LookAtSnapshots(const TransactionHeader& header) {
  if (header.commit_lsn >= copied_until_ && !is_live()) return;
  holds_.clear();
  size_t count = 0;
  for (const CopySnapshot& snapshot : options_.boundary->snapshots) {
    holds_.push_back(snapshot.Holds(header.xid, header.commit_lsn));
    count += holds_.back() ? 1 : 0;
  }
  is_dropped_ = count == holds_.size() && !is_live();
  is_mixed_ = is_live() || (count > 0 && !is_dropped_);
}

absl::StatusOr<bool> Assembler::IsHeldByPiece(size_t piece, const TableName& table) {
  LiveCopy& live = *options_.boundary->live;
  while (true) {
    switch (live.Judge(piece, header_.xid, header_.commit_lsn)) {
      case LiveCopy::Verdict::kHeld:
        return true;
      case LiveCopy::Verdict::kNew:
        return false;
      case LiveCopy::Verdict::kWait:
        break;
    }
    CutAllBefore();
    TOWLINE_RETURN_IF_ERROR(options_.await_copy(table));
    live.NoteStanding(header_.commit_lsn);
  }
}

absl::StatusOr<bool> Assembler::IsHeldByRange(size_t snapshot, const Relation& relation) {
  if (!is_live()) return holds_[snapshot];
  return IsHeldByPiece(snapshot, relation.name);
}

absl::StatusOr<bool> Assembler::IsHeldWhole(const Relation& relation) {
  // Rows of a rewrite come under an OID of their own.
  const Oid table = relation.rewrite_of != 0 ? relation.rewrite_of : relation.oid;
  auto live = options_.boundary->live_tables.find(table);
  if (live != options_.boundary->live_tables.end()) return IsHeldByRange(live->second, relation);
  return holds_[options_.boundary->SnapshotOf(table)];
}

absl::StatusOr<bool> Assembler::IsTruncateCopied(const Relation& relation) {
  auto ranged = options_.boundary->ranged.find(relation.oid);
  if (ranged == options_.boundary->ranged.end()) return IsHeldWhole(relation);
  return ranged_.HoldTruncate(
      ranged->second, [&](size_t snapshot) { return IsHeldByRange(snapshot, relation); }, relation);
}

// Of a mixed transaction. A TRUNCATE is left with the tables that it is news for.
absl::StatusOr<bool> Assembler::KeepsNew(Change* change) {
  if (change->kind != ChangeKind::kTruncate) {
    auto ranged = options_.boundary->ranged.find(change->relation->oid);
    if (ranged == options_.boundary->ranged.end()) {
      TOWLINE_ASSIGN_OR_RETURN(const bool is_held, IsHeldWhole(*change->relation));
      return !is_held;
    }
    return ranged_.Keep(
        ranged->second, [&](size_t snapshot) { return IsHeldByRange(snapshot, *change->relation); },
        change);
  }
  auto kept = std::make_shared<std::vector<const Relation*>>();
  for (const Relation* relation : *change->truncated) {
    TOWLINE_ASSIGN_OR_RETURN(bool is_copied, IsTruncateCopied(*relation));
    if (!is_copied) kept->push_back(relation);
  }
  if (kept->empty()) return false;
  change->relation = kept->front();
  change->truncated = std::move(kept);
  return true;
}

// The rows that were put together for it go at once: each may be as large as rows get.
void Assembler::DropChange() {
  for (; loose_rows_ > 0; --loose_rows_) {
    gathered_.bytes -= gathered_.spliced_rows.back().size();
    gathered_.spliced_rows.pop_back();
  }
}

absl::Status Assembler::CheckOrder(const TransactionHeader& header) const {
  if (late_prepared_ != 0 && header.xid != late_prepared_) {
    return absl::DataLossError(absl::StrCat("transaction ", late_prepared_,
                                            " was sent long after its PREPARE, and transaction ",
                                            header.xid, " follows instead of its COMMIT PREPARED"));
  }
  if (header.end_lsn > whole_end_lsn_) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "transaction ", header.xid, " ends at ", header.end_lsn.ToString(),
      ", and the source had said that all before ", whole_end_lsn_.ToString(), " was sent"));
}

absl::Status Assembler::OnBegin(const TransactionHeader& header) {
  TOWLINE_CHECK(!is_inside_ && !is_in_parts_);
  header_ = header;
  ranged_.set_writer(header.xid);
  is_inside_ = true;
  if (is_prepared()) return BeginPrepared();
  is_mixed_ = false;
  is_dropped_ = header.end_lsn <= options_.position;
  if (!is_dropped_ && options_.boundary.has_value()) LookAtSnapshots(header);
  return is_dropped_ ? absl::OkStatus() : CheckOrder(header);
}

absl::Status Assembler::BeginPrepared() {
  is_dropped_ = is_mixed_ = false;
  if (options_.boundary.has_value()) {
    // B5: one that is passed over here would be missing when its COMMIT PREPARED comes.
    return absl::DataLossError(
        absl::StrCat("transaction ", header_.xid,
                     " was sent at its PREPARE, and the stream has not passed the copy yet"));
  }
  if (late_prepared_ != 0) TOWLINE_RETURN_IF_ERROR(CheckOrder(header_));
  if (header_.end_lsn <= whole_end_lsn_) late_prepared_ = header_.xid;
  CutAllBefore();
  return absl::OkStatus();
}

absl::Status Assembler::OnChange(Change change) {
  TOWLINE_CHECK(is_inside_);
  if (is_dropped_) return absl::OkStatus();
  if (is_mixed_) {
    TOWLINE_ASSIGN_OR_RETURN(bool is_new, KeepsNew(&change));
    if (!is_new) {
      DropChange();
      return absl::OkStatus();
    }
  }
  is_frame_used_ = true;
  Gather(std::move(change));
  return absl::OkStatus();
}

void Assembler::Gather(Change change) {
  loose_rows_ = 0;
  if (change.relation != last_relation_) LookAtRelation(change.relation);
  // A mark for the open transaction: its first change here, or the first after a cut.
  if (gathered_.transactions.size() == whole_.transactions) {
    gathered_.transactions.push_back(
        {gathered_.changes.size(), header_.xid, header_.end_lsn, header_.commit_time_us});
  }
  gathered_.changes.push_back(std::move(change));
}

// Each row may be as large as rows get, so parts are cut here as well.
absl::Status Assembler::InsertMoved() {
  CutAllBefore();
  for (MovedRow& moved : ranged_.TakeLeftOut()) {
    moved.xid = header_.xid;
    std::optional<std::string> row;
    if (options_.read_moved) {
      TOWLINE_ASSIGN_OR_RETURN(row, options_.read_moved(moved));
    }
    if (!row.has_value()) {
      return CopyTableAgain(*moved.relation,
                            "a row has moved between ranges without its large values, and the "
                            "source does not have it any more as it was then");
    }
    Change change;
    change.kind = ChangeKind::kInsert;
    change.relation = moved.relation;
    change.new_row = KeepSplicedRow(*std::move(row));
    Gather(std::move(change));
    if (IsFull()) CutPart(is_in_parts_ ? BatchPart::kMiddle : BatchPart::kFirst);
  }
  return absl::OkStatus();
}

// Of any command: it may read the table's rows, or make values of its types others (an enum's
// labels), and needs no lock at the source for that.
absl::Status Assembler::AwaitJoining() {
  for (const auto& [oid, piece] : options_.boundary->live_tables) {
    auto name = options_.boundary->names.find(oid);
    const TableName table = name == options_.boundary->names.end() ? TableName() : name->second;
    TOWLINE_RETURN_IF_ERROR(IsHeldByPiece(piece, table).status());
  }
  return absl::OkStatus();
}

absl::Status Assembler::OnDdl(DdlCommand command) {
  TOWLINE_CHECK(is_inside_);
  if (is_dropped_) return absl::OkStatus();
  if (is_mixed_ && is_live() && options_.boundary->is_of_joined) {
    TOWLINE_RETURN_IF_ERROR(AwaitJoining());
  } else if (is_mixed_) {
    // Of a table that has joined too: all that its snapshot holds was run before its rows came.
    return WithHint(
        absl::DataLossError(absl::StrCat("the source's schema was changed (", command.tag,
                                         ") between the snapshots under which tables were copied")),
        "Drop the task (towline drop) and copy anew; change the schema before or after the copy.");
  }
  if (is_prepared()) {
    return WithHint(absl::UnimplementedError(
                        absl::StrCat("a prepared transaction holds DDL (", command.tag,
                                     "), which cannot be prepared at the destination as well")),
                    "Set two_phase: off; the transaction then comes at its COMMIT PREPARED.");
  }
  CutAllBefore();
  if (!gathered_.changes.empty()) CutPart(is_in_parts_ ? BatchPart::kMiddle : BatchPart::kFirst);
  gathered_.transactions.push_back({0, header_.xid, header_.end_lsn});
  gathered_.ddl = std::make_shared<const DdlCommand>(std::move(command));
  CutPart(is_in_parts_ ? BatchPart::kMiddle : BatchPart::kFirst);
  is_frame_used_ = true;
  return absl::OkStatus();
}

// Where it cannot be told whether the copy holds the new rows it is said all the same.
absl::Status Assembler::OnRewrite(const TableName& table, Oid source_oid) {
  TOWLINE_CHECK(is_inside_);
  if (is_dropped_ || !options_.on_rewrite) return absl::OkStatus();
  if (is_mixed_ && !is_live() && !options_.boundary->ranged.contains(source_oid) &&
      holds_[options_.boundary->SnapshotOf(source_oid)]) {
    return absl::OkStatus();
  }
  options_.on_rewrite(table);
  return absl::OkStatus();
}

// A relation that is described anew has been altered, which may have to stop the task until the
// destination is altered as well. What was committed before must be applied by then: under the new
// shape it could not be.
void Assembler::LookAtRelation(const Relation* relation) {
  last_relation_ = relation;
  if (!relations_.insert(relation).second) return;
  const Relation*& described = described_[relation->name];
  if (described != nullptr && whole_.changes > 0) CutWhole();
  described = relation;
}

absl::string_view Assembler::KeepSplicedRow(std::string spliced) {
  if (is_dropped_) {
    dropped_row_ = std::move(spliced);
    return dropped_row_;
  }
  // Rows move to another batch when the whole transactions before them are cut off, and changes
  // point into them: no string may be so short that it keeps its bytes within itself.
  spliced.reserve(kNeverInlineBytes);
  gathered_.bytes += spliced.size();
  ++loose_rows_;
  gathered_.spliced_rows.push_back(std::move(spliced));
  return gathered_.spliced_rows.back();
}

absl::Status Assembler::OnCommit(const TransactionHeader& header) {
  TOWLINE_CHECK(is_inside_ && header.xid == header_.xid && header.end_lsn == header_.end_lsn);
  if (ranged_.has_left_out()) TOWLINE_RETURN_IF_ERROR(InsertMoved());
  is_inside_ = false;
  dropped_row_ = std::string();
  if (is_prepared()) {
    // Also one without changes for us: its end must find that it was here.
    has_last_part_ = true;
    whole_end_lsn_ = std::max(whole_end_lsn_, header.end_lsn);
    return absl::OkStatus();
  }
  if (!is_dropped_) {
    gathered_.transaction_count += 1;
    gathered_.oldest_commit_time_us =
        OlderOf(gathered_.oldest_commit_time_us, header.commit_time_us);
    gathered_.newest_commit_time_us =
        std::max(gathered_.newest_commit_time_us, header.commit_time_us);
  }
  if (is_in_parts_) {
    has_last_part_ = true;
  } else {
    // A dropped transaction moves the position, but not back to before the resume point.
    whole_end_lsn_ = std::max(whole_end_lsn_, header.end_lsn);
  }
  return absl::OkStatus();
}

absl::Status Assembler::OnPreparedEnd(const TransactionHeader& header, PreparedFate fate) {
  TOWLINE_CHECK(!is_inside_ && !is_in_parts_);
  if (header.end_lsn <= options_.position) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(CheckOrder(header));
  late_prepared_ = 0;
  CutAllBefore();
  Batch end;
  end.end_lsn = header.end_lsn;
  end.prepared_xid = header.xid;
  end.prepared_gid = header.gid;
  if (fate == PreparedFate::kCommitted) {
    end.two_phase = TwoPhase::kCommitPrepared;
    end.transaction_count = 1;
    end.oldest_commit_time_us = end.newest_commit_time_us = header.commit_time_us;
  } else {
    end.two_phase = TwoPhase::kRollbackPrepared;
  }
  ready_.push_back(std::move(end));
  whole_end_lsn_ = taken_lsn_ = header.end_lsn;
  return absl::OkStatus();
}

Assembler::Extent Assembler::AllGathered() const {
  return {gathered_.changes.size(), gathered_.frames.size(), gathered_.spliced_rows.size(),
          gathered_.bytes, gathered_.transactions.size()};
}

bool Assembler::IsFull() const {
  return gathered_.bytes >= static_cast<size_t>(options_.batch_bytes_max) ||
         gathered_.changes.size() >= static_cast<size_t>(options_.batch_rows_max);
}

void Assembler::AddFrame(Frame frame) {
  // Frames that only brought pieces of a value are done with: the value has been put together.
  if (is_frame_used_) {
    gathered_.bytes += frame.size();
    gathered_.frames.push_back(std::move(frame));
    is_frame_used_ = false;
  }
  if (has_last_part_) {
    CutPart(is_in_parts_ ? BatchPart::kLast : BatchPart::kWhole);
    return;
  }
  if (!is_inside_) whole_ = AllGathered();
  if (!IsFull()) return;
  if (whole_.changes > 0) CutWhole();
  if (is_inside_ && !is_dropped_ && IsFull()) {
    CutPart(is_in_parts_ ? BatchPart::kMiddle : BatchPart::kFirst);
  }
}

// Moves the whole transactions to ready_; the open one stays.
void Assembler::CutWhole() {
  Batch rest;
  MoveTail(&gathered_.changes, whole_.changes, &rest.changes);
  MoveTail(&gathered_.frames, whole_.frames, &rest.frames);
  MoveTail(&gathered_.transactions, whole_.transactions, &rest.transactions);
  for (TransactionMark& mark : rest.transactions) mark.first_change -= whole_.changes;
  MoveTail(&gathered_.spliced_rows, whole_.spliced_rows, &rest.spliced_rows);
  rest.bytes = gathered_.bytes - whole_.bytes;
  gathered_.bytes = whole_.bytes;
  gathered_.part = BatchPart::kWhole;
  gathered_.end_lsn = whole_end_lsn_;
  taken_lsn_ = whole_end_lsn_;
  ready_.push_back(std::move(gathered_));
  gathered_ = std::move(rest);
  whole_ = {};
}

// What is whole must not share a batch with what comes now.
void Assembler::CutAllBefore() {
  if (whole_.changes > 0 || whole_end_lsn_ > taken_lsn_) CutWhole();
}

// Moves all that has come of the open transaction to ready_; it is alone there.
void Assembler::CutPart(BatchPart part) {
  TOWLINE_CHECK(whole_.changes == 0);
  whole_end_lsn_ = std::max(whole_end_lsn_, header_.end_lsn);
  taken_lsn_ = whole_end_lsn_;
  gathered_.part = part;
  gathered_.end_lsn = whole_end_lsn_;
  if (is_prepared()) {
    gathered_.two_phase = TwoPhase::kPrepare;
    gathered_.prepared_xid = header_.xid;
    gathered_.prepared_gid = header_.gid;
  }
  ready_.push_back(std::move(gathered_));
  gathered_ = {};
  whole_ = {};
  is_in_parts_ = part == BatchPart::kFirst || part == BatchPart::kMiddle;
  has_last_part_ = false;
}

void Assembler::OnProgress(Lsn wal_end) {
  if (is_inside_) return;
  whole_end_lsn_ = std::max(whole_end_lsn_, wal_end);
}

std::optional<Batch> Assembler::Take(bool is_idle) {
  if (ready_.empty() && is_idle && !is_in_parts_ && whole_end_lsn_ > taken_lsn_) CutWhole();
  if (ready_.empty()) return std::nullopt;
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  return batch;
}

int64_t Assembler::oldest_commit_time_us() const {
  // What is only prepared makes nobody wait for it.
  bool is_pending = is_inside_ && !is_dropped_ && !is_prepared();
  int64_t oldest = is_pending ? header_.commit_time_us : 0;
  oldest = OlderOf(oldest, gathered_.oldest_commit_time_us);
  for (const Batch& batch : ready_) oldest = OlderOf(oldest, batch.oldest_commit_time_us);
  return oldest;
}

}  // namespace towline
