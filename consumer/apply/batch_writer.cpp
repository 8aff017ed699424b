#include "apply/batch_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apply/conflict.h"
#include "apply/truncate.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/failed_table.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// A statement is held whole by libpq before it is sent, a COPY passes in pieces.
constexpr size_t kLargeRowBytes = 1 << 20;

// A COPY begins when the destination has answered to all that was sent before, so it is left for
// later, when the next batch is decoded, if what the destination has to do meanwhile is the larger
// part. A row of a statement costs it as much as so many by COPY, or more: an update 10 to 13 us, a
// row by COPY 1.3 (docs/performance.md).
constexpr size_t kCopyRowsOfRow = 4;

// Whether it comes by COPY or in one statement, the server puts a row together in one piece of
// memory before it stores large values apart, and takes no more than MaxAllocSize for it. The rest
// is for the row's header and alignment.
constexpr size_t kRowBytesMax = 0x3fffffff - (64 << 10);

}  // namespace

BatchWriter::BatchWriter(Connection* connection, Options options)
    : connection_(connection),
      options_(std::move(options)),
      pipeline_(connection),
      row_writer_(connection, &pipeline_, options_.statement_bytes_max),
      net_writer_(connection, &pipeline_, &row_writer_, options_.set_rows_min, options_.round_trip),
      shapes_(connection, &pipeline_) {}

const Target& BatchWriter::TargetOf(const Change& change) {
  if (last_target_ == nullptr || last_target_->relation != change.relation) {
    last_target_ = planner_.Find(change.relation);
  }
  return *last_target_;
}

// The catalog cannot be asked while the pipeline runs.
absl::Status BatchWriter::ReadTargetsOf(const Batch& batch) {
  new_targets_.clear();
  noted_.clear();
  std::vector<const Relation*> unknown;
  const Relation* last = nullptr;
  auto look_at = [&](const Relation* relation) {
    if (relation == last) return;
    last = relation;
    if (planner_.Find(relation) != nullptr) return Touch(relation);
    if (std::find(unknown.begin(), unknown.end(), relation) == unknown.end()) {
      unknown.push_back(relation);
    }
  };
  for (const Change& change : batch.changes) {
    look_at(change.relation);
    if (change.truncated == nullptr) continue;
    for (const Relation* relation : *change.truncated) look_at(relation);
  }
  if (unknown.empty()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(Drain());
  std::vector<TableName> names;
  for (const Relation* relation : unknown) names.push_back(relation->name);
  TOWLINE_RETURN_IF_ERROR(shapes_.Read(names));
  TOWLINE_ASSIGN_OR_RETURN(
      std::vector<Target> targets,
      ReadTargets(*connection_, options_.claim.task, unknown, options_.policies));
  for (Target& target : targets) {
    const Relation* relation = target.relation;
    TOWLINE_RETURN_IF_ERROR(CheckIsCopied(*relation));
    TOWLINE_RETURN_IF_ERROR(CheckRewrite(target));
    TOWLINE_RETURN_IF_ERROR(CheckIsShared(*relation, target.table));
    // In a prepared transaction the note would be in the way of the next one until its outcome.
    if (batch.two_phase == TwoPhase::kNone) {
      TOWLINE_RETURN_IF_ERROR(NoteNewTable(*relation, target.table));
    }
    const Relation*& described = described_[relation->name];
    if (described != nullptr) {
      TOWLINE_RETURN_IF_ERROR(CheckRedescription(*described, *relation, target.table));
    }
    described = relation;
    planner_.Add(std::move(target));
    Touch(relation);
    new_targets_.push_back(relation);
  }
  return absl::OkStatus();
}

void BatchWriter::Touch(const Relation* relation) {
  if (is_touched_.insert(relation).second) touched_.push_back(relation);
}

// What the destination holds under a name are the rows of the table that was copied. Another table
// that has taken the name since is not seen by names and types, and restarting must not hide it.
absl::Status BatchWriter::CheckIsCopied(const Relation& relation) const {
  auto copied = options_.source_oids.find(relation.name);
  if (copied == options_.source_oids.end() || relation.kind == 'p' ||
      copied->second == relation.oid) {
    return absl::OkStatus();
  }
  return WithHint(
      absl::FailedPreconditionError(
          absl::StrCat("source table ", relation.name.schema, ".", relation.name.name,
                       " is not the one that was copied: it was made anew or renamed since (OID ",
                       relation.oid, ", copied was ", copied->second, ")")),
      "The destination holds the other table's rows. Drop the task (towline drop) and copy anew.");
}

// Its rows were removed, and come anew without what only the destination knows. The transaction is
// rolled back with them.
absl::Status BatchWriter::CheckRewrite(const Target& target) {
  if (target.relation->rewrite_of == 0 || target.unsent.empty()) return absl::OkStatus();
  return WithHint(
      absl::UnimplementedError(absl::StrCat(
          "table ", target.label, " was rewritten at the source, and the destination's has column ",
          target.unsent.front(), ", which the source does not send: its values would be lost")),
      absl::StrCat("Keep what it holds elsewhere, then, at the destination: ALTER TABLE ",
                   target.sql_name, " DROP COLUMN ", target.unsent.front(),
                   "; run again, and add the column when the task is past the rewrite."));
}

// Of a table that comes later nobody has looked whose rows of the task's value are there.
absl::Status BatchWriter::CheckIsShared(const Relation& relation, const Table& table) const {
  if (relation.kind == 'p' || options_.source_oids.contains(relation.name)) return absl::OkStatus();
  const TableRule* rule = FindRule(options_.policies.rules, relation.name, table.ancestors);
  if (rule == nullptr || rule->shared.empty()) return absl::OkStatus();
  return WithFailedTable(
      WithHint(absl::FailedPreconditionError(
                   absl::StrCat("table ", QuoteQualified(relation.name.schema, relation.name.name),
                                " is shared with other tasks, and was not there at the copy")),
               "Take its rule out and exclude it (tables.exclude), run again; then take both back "
               "and ask for it by towline table add; or, once it is parked, by table rejoin."),
      {relation.name, relation.oid});
}

// So that another table of this name is known as such after a restart.
absl::Status BatchWriter::NoteNewTable(const Relation& relation, const Table& table) {
  if (relation.kind == 'p' || options_.source_oids.contains(relation.name)) return absl::OkStatus();
  if (!expected_.contains(relation.oid)) {
    LogWarning(
        "a table is streamed that was not there at the copy: rows that it has had before it was "
        "selected (as after a rename) do not come by themselves",
        {{"table", QuoteQualified(relation.name.schema, relation.name.name)}});
  }
  const TableRule* rule = FindRule(options_.policies.rules, relation.name, table.ancestors);
  options_.source_oids[relation.name] = relation.oid;
  noted_.push_back(relation.name);
  return AddStreamedPiece(*connection_, options_.claim, relation.name, relation.oid,
                          RuleText(rule));
}

std::optional<BatchPlan> BatchWriter::PlanAhead(const Batch& batch) const {
  ScopedStage stage(options_.clock, Stage::kFold);
  return planner_.Plan(batch, 0, batch.changes.size());
}

BatchPlan BatchWriter::Plan(const Batch& batch, size_t begin, size_t end) const {
  ScopedStage stage(options_.clock, Stage::kFold);
  return *planner_.Plan(batch, begin, end);
}

absl::Status BatchWriter::Write(const Batch& batch, size_t begin, size_t end) {
  return WritePlan(batch, Plan(batch, begin, end), /*may_stop=*/false);
}

absl::Status BatchWriter::Write(const Batch& batch, std::optional<BatchPlan> ahead) {
  const size_t end = batch.changes.size();
  const bool is_current = ahead.has_value() && planner_.IsCurrent(*ahead, batch, 0, end);
  if (!is_current) ahead.reset();  // before there is another one
  return WritePlan(batch, is_current ? *std::move(ahead) : Plan(batch, 0, end), /*may_stop=*/true);
}

absl::Status BatchWriter::WriteRest(const Batch& batch) {
  if (!rest_.has_value()) return absl::OkStatus();
  return WriteOn(batch, *std::exchange(rest_, std::nullopt), /*may_stop=*/false);
}

absl::Status BatchWriter::WritePlan(const Batch& batch, BatchPlan plan, bool may_stop) {
  planner_.NoteWritten(plan);
  missed_before_ = pipeline_.missed_rows();
  unanswered_rows_ = 0;
  return WriteOn(batch, {std::move(plan)}, may_stop);
}

absl::Status BatchWriter::WriteOn(const Batch& batch, Rest rest, bool may_stop) {
  for (; rest.segment < rest.plan.segments.size(); ++rest.segment) {
    PlannedSegment& segment = rest.plan.segments[rest.segment];
    for (; rest.table < segment.tables.size(); ++rest.table) {
      PlannedTable& table = segment.tables[rest.table];
      for (; rest.write < table.writes.size(); ++rest.write) {
        PlannedWrite& write = table.writes[rest.write];
        TOWLINE_ASSIGN_OR_RETURN(const bool is_written, WriteChanges(batch, &write, may_stop));
        if (!is_written) {
          TOWLINE_RETURN_IF_ERROR(pipeline_.Push());
          rest_.emplace(std::move(rest));
          return absl::OkStatus();
        }
        write = {};  // its memory
      }
      rest.write = 0;
      if (rest.table == 0) FaultPoint("apply:in-batch");
    }
    rest.table = 0;
    if (segment.barrier.has_value()) {
      TOWLINE_RETURN_IF_ERROR(WriteBarrier(batch, *segment.barrier));
    }
  }
  return pipeline_.Push();
}

// False: it was stopped in front of the inserts, and all before them is sent.
absl::StatusOr<bool> BatchWriter::WriteChanges(const Batch& batch, PlannedWrite* write,
                                               bool may_stop) {
  const Target& target = *write->target;
  const bool is_folded = write->in_order.empty();
  if (is_folded) {
    unanswered_rows_ += write->net.deletes.size() + write->net.updates.size();
    TOWLINE_RETURN_IF_ERROR(net_writer_.WriteDeletesAndUpdates(target, &write->net));
  }
  const size_t rows =
      is_folded ? write->net.inserts.size() : FindRun(batch, write->in_order, 0).end;
  const bool is_copy = net_writer_.IsCopy(target, rows);
  if (is_copy && may_stop && pipeline_.is_waiting() && unanswered_rows_ * kCopyRowsOfRow >= rows) {
    return false;
  }
  unanswered_rows_ = is_copy ? 0 : unanswered_rows_ + rows;
  TOWLINE_RETURN_IF_ERROR(is_folded ? net_writer_.WriteInserts(target, write->net.inserts)
                                    : WriteInOrder(batch, target, write->in_order));
  return true;
}

absl::Status BatchWriter::WriteBarrier(const Batch& batch, size_t index) {
  const Change& change = batch.changes[index];
  if (change.kind != ChangeKind::kTruncate) {
    return row_writer_.Write(TargetOf(change), change, index);
  }
  TOWLINE_RETURN_IF_ERROR(pipeline_.Drain());
  return WriteTruncate(change);
}

// Statements that were on the way behind the one that failed have not been prepared.
absl::Status BatchWriter::Forget() {
  pipeline_.Reset();
  pipeline_.set_missed_rows(missed_before_);
  row_writer_.ForgetStatements();
  net_writer_.Forget();
  shapes_.ForgetStatement();
  return connection_->Exec("DEALLOCATE ALL").status();
}

absl::Status BatchWriter::Renew() {
  missed_before_ = pipeline_.missed_rows();
  planner_.ForgetAll();
  touched_.clear();
  is_touched_.clear();
  // A column that captured DDL has dropped and made again under its name is no surprise.
  described_.clear();
  last_target_ = nullptr;
  return Forget();
}

absl::Status BatchWriter::ForgetTable(const TableName& table) {
  options_.source_oids.erase(table);
  described_.erase(table);
  return RemovePiece(*connection_, options_.claim, table);
}

absl::Status BatchWriter::RenameTable(Oid source_oid, const TableName& now) {
  for (auto& [name, oid] : options_.source_oids) {
    if (oid != source_oid || name == now) continue;
    const TableName before = name;
    options_.source_oids.erase(before);
    options_.source_oids[now] = source_oid;
    described_.erase(before);
    described_.erase(now);
    return RenamePiece(*connection_, options_.claim, before, now);
  }
  return absl::OkStatus();
}

absl::Status BatchWriter::RenameSchema(const std::string& before, const std::string& now) {
  std::map<TableName, Oid> renamed;
  for (const auto& [name, oid] : options_.source_oids) {
    const bool is_in_it = name.schema == before;
    const TableName then{is_in_it ? now : name.schema, name.name};
    if (is_in_it) TOWLINE_RETURN_IF_ERROR(RenamePiece(*connection_, options_.claim, name, then));
    renamed[then] = oid;
  }
  options_.source_oids = std::move(renamed);
  described_.clear();
  return absl::OkStatus();
}

Oid BatchWriter::SourceOidOf(const TableName& table) const {
  auto found = options_.source_oids.find(table);
  return found == options_.source_oids.end() ? 0 : found->second;
}

void BatchWriter::CheckShapes() {
  std::vector<Oid> tables;
  for (const Relation* relation : touched_) tables.push_back(planner_.Find(relation)->table.oid);
  touched_.clear();
  is_touched_.clear();
  shapes_.Check(tables);
}

std::vector<const Target*> BatchWriter::Touched() const {
  std::vector<const Target*> touched;
  for (const Relation* relation : touched_) touched.push_back(planner_.Find(relation));
  return touched;
}

void BatchWriter::ForgetNewTargets() {
  touched_.clear();
  is_touched_.clear();
  for (const Relation* relation : new_targets_) planner_.Forget(relation);
  for (const TableName& table : noted_) options_.source_oids.erase(table);
  last_target_ = nullptr;
}

absl::Status BatchWriter::WriteTruncate(const Change& change) {
  std::vector<const Target*> emptied;
  for (const Relation* relation : *change.truncated) {
    bool is_leaf_as_root = relation->kind == 'p' && relation->oid != relation->root_oid;
    bool has_root =
        std::any_of(change.truncated->begin(), change.truncated->end(), [&](const Relation* other) {
          return other->name == relation->name && other->oid == other->root_oid;
        });
    if (is_leaf_as_root && !has_root) {
      return absl::UnimplementedError(absl::StrCat(
          "table ", relation->name.schema, ".", relation->name.name,
          ": TRUNCATE of one partition, whose rows are published as the whole table's"));
    }
    emptied.push_back(planner_.Find(relation));
  }
  absl::Status done = TruncateTables(*connection_, emptied, change.truncate_restarts_identity);
  const bool is_one = change.truncated->size() == 1;
  const Relation& first = *change.truncated->front();
  return is_one ? WithFailedTable(done, {first.name, first.oid}) : done;
}

// The changes from `first` on that are inserts and that COPY can take.
BatchWriter::Run BatchWriter::FindRun(const Batch& batch, absl::Span<const uint32_t> changes,
                                      size_t first) {
  Run run{first, false};
  while (run.end < changes.size()) {
    const Change& change = batch.changes[changes[run.end]];
    if (change.kind != ChangeKind::kInsert || change.new_row.size() > kRowBytesMax) break;
    run.has_large_row |= change.new_row.size() >= kLargeRowBytes;
    ++run.end;
  }
  return run;
}

// As they came: runs of inserts by COPY, the rest as a statement each.
absl::Status BatchWriter::WriteInOrder(const Batch& batch, const Target& target,
                                       absl::Span<const uint32_t> changes) {
  for (size_t i = 0; i < changes.size();) {
    Run run = FindRun(batch, changes, i);
    const size_t rows = run.end - i;
    if (rows > 0 && (run.has_large_row ? target.can_copy : net_writer_.IsCopy(target, rows))) {
      copied_.clear();
      for (; i < run.end; ++i) copied_.push_back({batch.changes[changes[i]].new_row, changes[i]});
      TOWLINE_RETURN_IF_ERROR(net_writer_.Copy(target, copied_));
      continue;
    }
    const bool is_bulk = target.can_copy ? rows >= kCopyRowsMin || net_writer_.IsSet(rows)
                                         : target.can_fold && net_writer_.IsSet(rows);
    if (is_bulk && !run.has_large_row) {
      inserts_.clear();
      for (; i < run.end; ++i) inserts_.push_back({batch.changes[changes[i]], changes[i]});
      TOWLINE_RETURN_IF_ERROR(net_writer_.WriteInserts(target, inserts_));
      continue;
    }
    size_t end = std::max(run.end, i + 1);  // a change that is no insert goes alone
    for (; i < end; ++i) {
      TOWLINE_RETURN_IF_ERROR(row_writer_.Write(target, batch.changes[changes[i]], changes[i]));
    }
  }
  return absl::OkStatus();
}

void BatchWriter::Count(const Batch& batch) {
  const Relation* last = nullptr;
  TableChanges* table = nullptr;
  for (const Change& change : batch.changes) {
    if (change.relation != last) table = &table_changes_[last = change.relation];
    switch (change.kind) {
      case ChangeKind::kInsert:
        ++counts_.inserted;
        ++table->inserted;
        break;
      case ChangeKind::kUpdate:
        ++counts_.updated;
        ++table->updated;
        break;
      case ChangeKind::kDelete:
        ++counts_.deleted;
        ++table->deleted;
        break;
      case ChangeKind::kTruncate:
        ++counts_.truncated;
        for (const Relation* relation : *change.truncated) ++table_changes_[relation].truncated;
        last = nullptr;  // the map has moved
        break;
    }
  }
  counts_.missed = pipeline_.missed_rows();
}

std::vector<TableChanges> BatchWriter::TakeTableChanges() {
  std::vector<TableChanges> tables;
  for (auto& [relation, table] : table_changes_) {
    table.name = relation->name;
    tables.push_back(std::move(table));
  }
  table_changes_.clear();
  return tables;
}

// The last change of a net update is an UPDATE. One that is alone with its table has met no other.
bool BatchWriter::MayBeClash(const Batch& batch, const Failed& failed) const {
  const Target& target = *failed.target;
  if (!failed.is_session_usable || !target.can_fold || !target.may_clash ||
      batch.changes[failed.failure.change].kind != ChangeKind::kUpdate ||
      !IsClashError(failed.failure.status) || planner_.HasReplaced(target.table.oid)) {
    return false;
  }
  return std::count_if(batch.changes.begin(), batch.changes.end(), [&target](const Change& change) {
           return change.relation == target.relation;
         }) > 1;
}

std::optional<BatchWriter::Failed> BatchWriter::TakeFailure(const Batch& batch) {
  // Outside of the pipeline.
  std::optional<ApplyFailure> failure = row_writer_.failure();
  bool is_usable = failure.has_value();
  if (!failure.has_value()) {
    failure = pipeline_.failure();
    if (!failure.has_value()) return std::nullopt;
    is_usable = pipeline_.Recover().ok();
  }
  return Failed{*failure, &TargetOf(batch.changes[failure->change]), is_usable};
}

}  // namespace towline
