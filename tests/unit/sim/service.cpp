#include "sim/service.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/row_image.h"
#include "run/copy_boundary.h"

namespace towline::sim {
namespace {

struct Parsed {
  Row row;
  std::vector<bool> is_given;
  bool is_whole = true;
};

Parsed Parse(absl::string_view image) {
  Parsed parsed;
  RowReader reader(image);
  for (int i = 0; i < reader.field_count(); ++i) {
    const Field field = reader.Next();
    parsed.row.emplace_back();
    if (field.kind == FieldKind::kValue) parsed.row.back() = std::string(field.bytes);
    parsed.is_given.push_back(field.kind != FieldKind::kUnchangedToast);
    parsed.is_whole &= parsed.is_given.back();
  }
  return parsed;
}

size_t TableOf(const Relation& relation) {
  for (size_t i = 0; i < kTables.size(); ++i) {
    if (kTables[i].oid == relation.oid) return i;
  }
  return kTables.size();
}

absl::Status Wrong(absl::string_view what, size_t table, const std::string& key) {
  return absl::InternalError(absl::StrCat(what, ": ", kTables[table].name, " ", key));
}

// As MakeTarget() makes them.
Target TargetOf(const Relation& relation, bool keeps_order) {
  const Table& table = kTables[TableOf(relation)];
  Target target;
  target.relation = &relation;
  target.table.oid = table.oid;
  target.matching = table.key_columns == 0 ? Matching::kExact : Matching::kKey;
  target.can_fold = !keeps_order;
  target.keeps_order = keeps_order;
  target.may_clash = table.unique_column >= 0;
  for (size_t i = 0; i < table.columns; ++i) {
    const bool is_key = i < table.key_columns;
    target.columns.emplace_back();
    target.columns.back().field = static_cast<int>(i);
    if (is_key) target.columns.back().key_field = static_cast<int>(i);
    if (is_key || table.key_columns == 0) target.match.push_back(static_cast<int>(i));
  }
  return target;
}

bool IsCopied(const Stored& stored) {
  return std::all_of(stored.pieces.begin(), stored.pieces.end(),
                     [](const Piece& piece) { return piece.state == "copied"; });
}

CopySnapshot SnapshotOf(const Seen& seen) {
  return {Snapshot::Parse(seen.text).value(), {seen.lsn_after}};
}

}  // namespace

// --- the copy

absl::Status Service::Start() {
  what_ = "start";
  options_.destination->Transact(options_.dice, [this](Stored* stored) {
    epoch_ = ++stored->epoch;
    Piece& own = stored->pieces[kOwnPiece];
    if (own.state == "copied") return;
    own = {};
    stored->contents[kOwnPiece].clear();
  });
  // The marker that is waited for.
  if (!IsCopied(Now())) options_.source->EndAll();
  live_ = std::make_unique<LiveCopy>(
      LiveCopy::Options{.piece_count = 1, .remembered_max = 1 + options_.dice->Below(20)});
  const Piece& own = Now().pieces[kOwnPiece];
  if (own.state == "copied") {
    live_->AddTaken(0, SnapshotOf(*own.seen));
    live_->Finish(0);
  }
  return options_.meanwhile();
}

void Service::CopyRows(size_t table, const Seen& seen) {
  std::map<uint64_t, Row> rows = options_.source->initial()[table];
  for (const Transaction& transaction : options_.source->committed()) {
    if (!seen.xids.contains(transaction.xid)) continue;
    for (const Change& change : transaction.changes) sim::Apply(change, table, &rows);
  }
  copied_.clear();
  for (const auto& [number, row] : rows) copied_.push_back(row);
}

// The tables that share a snapshot; a copy that was interrupted takes another for those left.
absl::Status Service::CopySharedStep() {
  what_ = "copy";
  if (!shared_.has_value()) {
    shared_ = options_.source->TakeSnapshot();
    return options_.meanwhile();
  }
  for (size_t table = 0; table < kTables.size(); ++table) {
    if (kTables[table].is_own_piece || Now().pieces[table].state == "copied") continue;
    CopyRows(table, *shared_);
    options_.destination->Transact(options_.dice, [this, table](Stored* stored) {
      for (const Row& row : copied_) {
        Counted& there = stored->contents[table][KeyOf(kTables[table], row)];
        there.row = row;
        ++there.count;
      }
      stored->pieces[table] = {"copied", shared_};
    });
    options_.on_commit();
    return options_.meanwhile();
  }
  return StartStream();
}

// That of the piece which is copied beside the stream.
absl::Status Service::CopyOwnStep() {
  if (OneIn(6)) live_->Forget(*Snapshot::Parse(options_.source->TakeSnapshot().text));
  const Piece own = Now().pieces[kOwnPiece];
  if (own.state == "copied") return absl::OkStatus();
  if (!is_announced_) {
    live_->Announce({0});
    is_announced_ = true;
  } else if (own.state == "pending" && !taken_.has_value()) {
    taken_ = options_.source->TakeSnapshot();
  } else if (own.state == "pending") {
    const Seen seen = *std::exchange(taken_, std::nullopt);
    if (!live_->Accept({0}, SnapshotOf(seen))) {
      options_.source->EndSome();
      return absl::OkStatus();
    }
    options_.destination->Transact(options_.dice, [&seen](Stored* stored) {
      stored->pieces[kOwnPiece] = {"copying", seen};
    });
    CopyRows(kOwnPiece, seen);
  } else {
    // Some of its rows are committed before its mark is.
    const size_t rows = is_half_copied_ ? copied_.size() : copied_.size() / 2;
    options_.destination->Transact(options_.dice, [this, rows](Stored* stored) {
      for (size_t i = 0; i < rows; ++i) {
        stored->contents[kOwnPiece][KeyOf(kTables[kOwnPiece], copied_[i])] = {copied_[i], 1};
      }
      if (is_half_copied_) stored->pieces[kOwnPiece].state = "copied";
    });
    copied_.erase(copied_.begin(), copied_.begin() + static_cast<ptrdiff_t>(rows));
    if (is_half_copied_) live_->Finish(0);
    is_half_copied_ = true;
    options_.on_commit();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<CopyBoundary>> Service::Boundary() {
  const Stored& stored = Now();
  std::vector<SnapshotRow> snapshots;
  std::vector<PieceRow> pieces;
  std::vector<RangeRow> ranges;
  for (size_t table = 0; table < kTables.size(); ++table) {
    const Piece& piece = stored.pieces[table];
    PieceRow row;
    row.table = {"public", kTables[table].name};
    row.source_oid = kTables[table].oid;
    row.state = piece.state;
    if (kTables[table].is_own_piece) {
      row.source_form = "of then";
      RangeRow range;
      range.table = row.table;
      range.ordinal = 1;
      range.state = piece.state;
      if (piece.seen.has_value()) range.snapshot = piece.seen->text;
      if (piece.seen.has_value()) range.lsn_after = {piece.seen->lsn_after};
      if (stored.has_snapshots) ranges.push_back(std::move(range));
    } else {
      auto same =
          std::find_if(snapshots.begin(), snapshots.end(), [&piece](const SnapshotRow& other) {
            return other.lsn_after.value == piece.seen->lsn_after && other.text == piece.seen->text;
          });
      // Tables are copied in order, so a later one has no earlier snapshot.
      row.snapshot_number =
          same == snapshots.end() ? static_cast<int>(snapshots.size()) + 1 : same->number;
      if (same == snapshots.end() && stored.has_snapshots) {
        snapshots.push_back(
            {row.snapshot_number, piece.seen->text, {piece.seen->lsn_after}, "shape"});
      }
    }
    pieces.push_back(std::move(row));
  }
  const bool is_live = stored.has_snapshots && (!IsCopied(stored) || OneIn(2));
  return BoundaryOf(snapshots, pieces, ranges, is_live ? live_.get() : nullptr);
}

absl::Status Service::StartStream() {
  what_ = "start of the stream";
  positions_.emplace(Lsn{Now().position});
  planner_.emplace();
  // Of one table changes may not be folded.
  ordered_ = options_.dice->Below(3 * kTables.size());
  // What is stored as the position may not be on disk.
  TOWLINE_RETURN_IF_ERROR(Begin(positions_->committed().value));
  TOWLINE_RETURN_IF_ERROR(Commit(positions_->committed().value, true));
  TOWLINE_ASSIGN_OR_RETURN(spool_, Spool::Open({.memory_max = options_.spool_memory_max,
                                                .disk_max = 0,
                                                .directory = "/tmp",
                                                .prefix = "towline-simulation"}));
  Decoder::Options decoder;
  decoder.spool = spool_.get();
  decoder.subtransactions_max = 1 + options_.dice->Below(4);
  decoder_ = std::make_unique<Decoder>(decoder);
  Assembler::Options assembler;
  assembler.batch_bytes_max = options_.batch_bytes_max;
  assembler.batch_rows_max = options_.batch_rows_max;
  assembler.position = positions_->committed();
  TOWLINE_ASSIGN_OR_RETURN(assembler.boundary, Boundary());
  assembler.await_copy = [this](const TableName&) { return AwaitCopy(); };
  const bool switches_two_phase = options_.mirrors_prepared && !assembler.boundary.has_value();
  assembler_ = std::make_unique<Assembler>(std::move(assembler));
  options_.source->StartReplication(positions_->committed().value, switches_two_phase,
                                    options_.streams);
  is_streaming_ = true;
  return options_.meanwhile();
}

// --- the stream

absl::Status Service::Step() {
  if (!is_streaming_) return CopySharedStep();
  switch (options_.dice->Below(8)) {
    case 0:
      what_ = "copy beside the stream";
      return CopyOwnStep();
    case 1:
      what_ = "apply what is whole";
      TOWLINE_RETURN_IF_ERROR(ApplyDue(true));
      return Rest();
    case 2: {
      what_ = "forget the snapshots";
      const Stored& stored = Now();
      uint64_t lsn_after = 0;
      for (const Piece& piece : stored.pieces) {
        if (piece.seen.has_value()) lsn_after = std::max(lsn_after, piece.seen->lsn_after);
      }
      if (!stored.has_snapshots || !IsCopied(stored) || positions_->committed().value < lsn_after) {
        return absl::OkStatus();
      }
      options_.destination->Transact(options_.dice,
                                     [](Stored* task) { task->has_snapshots = false; });
      // The slot is switched with a new connection.
      return options_.mirrors_prepared ? absl::CancelledError("") : options_.meanwhile();
    }
    default:
      what_ = "receive";
      TOWLINE_RETURN_IF_ERROR(Receive());
      return Rest();
  }
}

bool Service::is_idle() const {
  return is_streaming_ && options_.source->has_sent_all() && !sent_.has_value() &&
         !progress_lsn_.has_value() && !is_open_ && IsCopied(Now());
}

absl::Status Service::Receive() {
  std::optional<Received> received = options_.source->Send();
  if (!received.has_value()) return absl::OkStatus();
  if (received->kind == Received::Kind::kProgress) {
    assembler_->OnProgress(received->wal_end);
    return absl::OkStatus();
  }
  TOWLINE_ASSIGN_OR_RETURN(Frame frame, decoder_->Unpack(std::move(received->frame)));
  TOWLINE_RETURN_IF_ERROR(decoder_->Decode(frame, *assembler_));
  assembler_->AddFrame(std::move(frame));
  while (decoder_->is_replaying()) {
    TOWLINE_ASSIGN_OR_RETURN(frame, decoder_->Replay(*assembler_));
    assembler_->AddFrame(std::move(frame));
    TOWLINE_RETURN_IF_ERROR(ApplyDue(false));
  }
  return ApplyDue(false);
}

absl::Status Service::ApplyDue(bool is_idle) {
  while (std::optional<Batch> batch = assembler_->Take(is_idle)) {
    if (batch->part == BatchPart::kWhole && batch->changes.empty() &&
        batch->two_phase == TwoPhase::kNone) {
      progress_lsn_ = std::max(progress_lsn_.value_or(0), batch->end_lsn.value);
      continue;
    }
    TOWLINE_RETURN_IF_ERROR(ApplyBatch(*std::move(batch)));
  }
  return absl::OkStatus();
}

absl::Status Service::ApplyBatch(Batch batch) {
  const bool is_last = batch.part == BatchPart::kWhole || batch.part == BatchPart::kLast;
  const uint64_t end_lsn = batch.end_lsn.value;
  const bool is_sent = batch.two_phase == TwoPhase::kNone && !OneIn(4);
  TOWLINE_RETURN_IF_ERROR(is_sent ? Send(std::move(batch)) : Apply(batch));
  if (!is_last) return absl::OkStatus();
  if (progress_lsn_.has_value() && *progress_lsn_ <= end_lsn) progress_lsn_.reset();
  Publish();
  return absl::OkStatus();
}

absl::Status Service::Rest() {
  // Answers have come while the next batch is gathered.
  if (sent_.has_value() && OneIn(3)) TOWLINE_RETURN_IF_ERROR(WriteRest());
  if (is_open_) return absl::OkStatus();
  if (OneIn(3)) TOWLINE_RETURN_IF_ERROR(FinishSent());
  if (progress_lsn_.has_value() && OneIn(3)) {
    const uint64_t progress = *std::exchange(progress_lsn_, std::nullopt);
    TOWLINE_RETURN_IF_ERROR(FinishSent());
    if (progress > positions_->committed().value) {
      TOWLINE_RETURN_IF_ERROR(Begin(progress));
      TOWLINE_RETURN_IF_ERROR(Commit(progress, OneIn(3)));
    }
  }
  if (!sent_.has_value() && !positions_->is_all_durable() && OneIn(4)) {
    TOWLINE_RETURN_IF_ERROR(Begin(positions_->committed().value));
    TOWLINE_RETURN_IF_ERROR(Commit(positions_->committed().value, true));
  }
  Publish();
  return options_.meanwhile();
}

// In the midst of a transaction that is decoded.
absl::Status Service::AwaitCopy() {
  TOWLINE_RETURN_IF_ERROR(ApplyDue(false));
  TOWLINE_RETURN_IF_ERROR(FinishSent());
  TOWLINE_RETURN_IF_ERROR(Rest());
  TOWLINE_RETURN_IF_ERROR(options_.meanwhile());
  return CopyOwnStep();
}

// --- transactions at the destination

absl::Status Service::Begin(uint64_t end_lsn) {
  options_.destination->Begin();
  if (!options_.destination->MovePosition(epoch_, positions_->sent().value, end_lsn)) {
    return absl::InternalError("the position is not where it should be");
  }
  return absl::OkStatus();
}

absl::Status Service::Commit(uint64_t end_lsn, bool is_synchronous) {
  TOWLINE_RETURN_IF_ERROR(options_.meanwhile());
  positions_->Send({end_lsn});
  options_.destination->Commit(is_synchronous);
  options_.on_commit();
  // Its answer may not come.
  TOWLINE_RETURN_IF_ERROR(options_.meanwhile());
  positions_->Commit({end_lsn}, is_synchronous);
  return absl::OkStatus();
}

absl::Status Service::Send(Batch batch) {
  const bool opens = batch.part == BatchPart::kWhole || batch.part == BatchPart::kFirst;
  std::optional<BatchPlan> plan = planner_->Plan(batch, 0, batch.changes.size());
  TOWLINE_RETURN_IF_ERROR(FinishSent());
  if (opens == is_open_) return absl::InternalError("a transaction within another");
  if (opens) TOWLINE_RETURN_IF_ERROR(Begin(batch.end_lsn.value));
  is_open_ = batch.part == BatchPart::kFirst || batch.part == BatchPart::kMiddle;
  sent_.emplace(std::move(batch));
  TOWLINE_RETURN_IF_ERROR(Write(*sent_, std::move(plan), /*may_stop=*/true));
  return options_.meanwhile();
}

absl::Status Service::WriteRest() {
  if (!rest_.has_value()) return absl::OkStatus();
  absl::Status written = WriteOn(*sent_, *std::exchange(rest_, std::nullopt), /*may_stop=*/false);
  return written.ok() ? written : WriteAgain(*sent_, written);
}

absl::Status Service::FinishSent() {
  if (!sent_.has_value()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(WriteRest());
  const uint64_t end_lsn = sent_->end_lsn.value;
  sent_.reset();
  return is_open_ ? absl::OkStatus() : Commit(end_lsn, OneIn(3));
}

absl::Status Service::Apply(const Batch& batch) {
  TOWLINE_RETURN_IF_ERROR(FinishSent());
  const bool prepares = batch.two_phase == TwoPhase::kPrepare;
  if (batch.two_phase != TwoPhase::kNone && !prepares) return EndPrepared(batch);
  if (batch.part == BatchPart::kWhole || batch.part == BatchPart::kFirst) {
    if (is_open_) return absl::InternalError("a transaction within another");
    TOWLINE_RETURN_IF_ERROR(prepares ? BeginPrepare(batch) : Begin(batch.end_lsn.value));
    is_open_ = true;
  }
  if (!prepares || (!is_prepared_ && !is_empty_)) {
    TOWLINE_RETURN_IF_ERROR(Write(batch, std::nullopt, /*may_stop=*/false));
  }
  TOWLINE_RETURN_IF_ERROR(options_.meanwhile());
  if (batch.part == BatchPart::kFirst || batch.part == BatchPart::kMiddle) return absl::OkStatus();
  is_open_ = false;
  return prepares ? Prepare(batch) : Commit(batch.end_lsn.value, OneIn(3));
}

// state/prepared.h has the cases.
absl::Status Service::BeginPrepare(const Batch& batch) {
  const Stored& stored = Now();
  const uint64_t xid = batch.prepared_xid;
  is_empty_ = batch.part == BatchPart::kWhole && batch.changes.empty();
  is_prepared_ = stored.prepared.contains(xid) || stored.prepared_rows.contains(xid);
  if (!is_prepared_ && !is_empty_) options_.destination->Begin();
  if (!is_prepared_ || stored.prepared.contains(xid) || stored.prepared_rows.at(xid))
    return absl::OkStatus();
  auto ended = stored.ended.find(xid);
  if (ended != stored.ended.end() && ended->second) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("prepared transaction ", xid, " was lost"));
}

absl::Status Service::Prepare(const Batch& batch) {
  const uint64_t xid = batch.prepared_xid;
  if (!is_prepared_ && !is_empty_) options_.destination->Prepare(xid);
  TOWLINE_RETURN_IF_ERROR(options_.meanwhile());
  TOWLINE_RETURN_IF_ERROR(Begin(batch.end_lsn.value));
  if (!Now().prepared_rows.contains(xid)) options_.destination->NotePrepared(xid, is_empty_);
  return Commit(batch.end_lsn.value, OneIn(3));
}

absl::Status Service::EndPrepared(const Batch& batch) {
  const Stored& stored = Now();
  const uint64_t xid = batch.prepared_xid;
  const bool commits = batch.two_phase == TwoPhase::kCommitPrepared;
  const bool has_row = stored.prepared_rows.contains(xid);
  if (stored.prepared.contains(xid)) {
    options_.destination->EndPrepared(xid, commits);
    options_.on_commit();
  } else if (has_row) {
    auto ended = stored.ended.find(xid);
    if (!stored.prepared_rows.at(xid) &&
        (ended == stored.ended.end() || ended->second != commits)) {
      return absl::InternalError(absl::StrCat("prepared transaction ", xid, " ended otherwise"));
    }
  } else if (commits) {
    return absl::InternalError(
        absl::StrCat("COMMIT PREPARED of ", xid, ", whose PREPARE had not come"));
  }
  TOWLINE_RETURN_IF_ERROR(options_.meanwhile());
  TOWLINE_RETURN_IF_ERROR(Begin(batch.end_lsn.value));
  if (has_row) options_.destination->RemovePrepared(xid);
  return Commit(batch.end_lsn.value, OneIn(3));
}

void Service::Publish() {
  if (positions_->durable().value <= reported_) return;
  reported_ = positions_->durable().value;
  options_.on_durable(reported_);
}

// --- rows

void Service::ReadTargets(const Batch& batch) {
  auto look_at = [this](const Relation* relation) {
    if (planner_->Find(relation) != nullptr) return;
    planner_->Add(TargetOf(*relation, TableOf(*relation) == ordered_));
    new_targets_.push_back(relation);
  };
  new_targets_.clear();
  for (const towline::Change& change : batch.changes) {
    look_at(change.relation);
    if (change.truncated == nullptr) continue;
    for (const Relation* relation : *change.truncated) look_at(relation);
  }
}

absl::Status Service::Write(const Batch& batch, std::optional<BatchPlan> ahead, bool may_stop) {
  ReadTargets(batch);
  options_.destination->Savepoint();
  const size_t end = batch.changes.size();
  if (!ahead.has_value() || !planner_->IsCurrent(*ahead, batch, 0, end)) {
    ahead = planner_->Plan(batch, 0, end);
  }
  planner_->NoteWritten(*ahead);
  absl::Status written = WriteOn(batch, {*std::move(ahead)}, may_stop);
  return written.ok() ? written : WriteAgain(batch, written);
}

// Only for an update that was in the way of another.
absl::Status Service::WriteAgain(const Batch& batch, const absl::Status& refused) {
  if (!absl::IsAlreadyExists(refused)) return refused;
  for (size_t table = 0; table < kTables.size(); ++table) {
    if (kTables[table].unique_column >= 0) planner_->NoteClash(kTables[table].oid);
  }
  planner_->set_replaces(true);
  options_.destination->RollBackToSavepoint();
  if (batch.part == BatchPart::kWhole) {
    for (const Relation* relation : new_targets_) planner_->Forget(relation);
    ReadTargets(batch);
  }
  BatchPlan plan = *planner_->Plan(batch, 0, batch.changes.size());
  planner_->NoteWritten(plan);
  absl::Status written = WriteOn(batch, {std::move(plan)}, /*may_stop=*/false);
  planner_->set_replaces(false);
  return written;
}

absl::Status Service::WriteOn(const Batch& batch, Unwritten rest, bool may_stop) {
  for (; rest.segment < rest.plan.segments.size(); ++rest.segment) {
    PlannedSegment& segment = rest.plan.segments[rest.segment];
    for (; rest.table < segment.tables.size(); ++rest.table) {
      std::vector<PlannedWrite>& writes = segment.tables[rest.table].writes;
      for (; rest.write < writes.size(); ++rest.write) {
        PlannedWrite& write = writes[rest.write];
        const size_t table = TableOf(*write.target->relation);
        TOWLINE_RETURN_IF_ERROR(WriteSet(table, std::exchange(write.net.deletes, {})));
        TOWLINE_RETURN_IF_ERROR(WriteSet(table, std::exchange(write.net.updates, {})));
        // A COPY that would wait for the answers to these.
        if (may_stop && OneIn(4)) {
          rest_.emplace(std::move(rest));
          return absl::OkStatus();
        }
        TOWLINE_RETURN_IF_ERROR(WriteSet(table, std::move(write.net.inserts)));
        for (const uint32_t index : write.in_order) {
          TOWLINE_RETURN_IF_ERROR(WriteOne(table, batch.changes[index]));
        }
        write = {};
      }
      rest.write = 0;
    }
    rest.table = 0;
    if (!segment.barrier.has_value()) continue;
    const towline::Change& change = batch.changes[*segment.barrier];
    if (change.kind != ChangeKind::kTruncate) {
      TOWLINE_RETURN_IF_ERROR(WriteOne(TableOf(*change.relation), change));
      continue;
    }
    for (const Relation* relation : *change.truncated) {
      options_.destination->Truncate(TableOf(*relation));
    }
  }
  return absl::OkStatus();
}

// The order within a set is the destination's.
absl::Status Service::WriteSet(size_t table, std::vector<NetChange> set) {
  for (size_t i = set.size(); i > 1; --i) std::swap(set[i - 1], set[options_.dice->Below(i)]);
  for (const NetChange& change : set) TOWLINE_RETURN_IF_ERROR(WriteOne(table, change.change));
  return absl::OkStatus();
}

// kAlreadyExists: an update that may be in the way of another one only for the order's sake.
absl::Status Service::WriteOne(size_t table, const towline::Change& change) {
  Destination& destination = *options_.destination;
  std::string key;
  Parsed row;
  if (change.kind != ChangeKind::kDelete) {
    row = Parse(change.new_row);
    key = KeyOf(kTables[table], row.row);
  }
  if (change.kind == ChangeKind::kInsert) {
    if (!row.is_whole) return Wrong("an insert without all values", table, key);
    if (destination.Insert(table, row.row)) return absl::OkStatus();
    return Wrong("an inserted row meets another", table, key);
  }
  if (change.old_image != OldImage::kNone) key = KeyOf(kTables[table], Parse(change.old_row).row);
  if (!destination.Has(table, key)) return Wrong("a changed row is not there", table, key);
  if (change.kind == ChangeKind::kDelete) {
    destination.Delete(table, key);
    return absl::OkStatus();
  }
  if (destination.Update(table, key, row.row, row.is_given)) return absl::OkStatus();
  if (kTables[table].unique_column < 0) return Wrong("an updated row meets another", table, key);
  return absl::AlreadyExistsError(
      absl::StrCat("an updated row meets another: ", kTables[table].name, " ", key));
}

}  // namespace towline::sim
