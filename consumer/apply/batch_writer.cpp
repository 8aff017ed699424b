#include "apply/batch_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "apply/conflict.h"
#include "apply/fold_rows.h"
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

// Whether it comes by COPY or in one statement, the server puts a row together in one piece of
// memory before it stores large values apart, and takes no more than MaxAllocSize for it. The rest
// is for the row's header and alignment.
constexpr size_t kRowBytesMax = 0x3fffffff - (64 << 10);

Folder::Options FolderOptionsOf(const Target& target, bool replaces) {
  Folder::Options options;
  for (int index : target.match) {
    const TargetColumn& column = target.columns[static_cast<size_t>(index)];
    options.key.in_full.push_back(column.field);
    if (column.key_field >= 0) options.key.in_key.push_back(column.key_field);
  }
  if (options.key.in_key.size() != options.key.in_full.size()) options.key.in_key.clear();
  options.has_old_images = target.relation->replica_identity == ReplicaIdentity::kFull;
  options.replaces = replaces;
  options.keeps_rows = target.keeps_rows;
  return options;
}

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
    last_target_ = targets_.find(change.relation)->second.target.get();
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
    auto known = targets_.find(relation);
    if (known != targets_.end()) {
      if (!known->second.is_touched) touched_.push_back(relation);
      known->second.is_touched = true;
      return;
    }
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
    // In a prepared transaction the note would be in the way of the next one until its outcome.
    if (batch.two_phase == TwoPhase::kNone) {
      TOWLINE_RETURN_IF_ERROR(NoteNewTable(*relation, target.table));
    }
    const Relation*& described = described_[relation->name];
    if (described != nullptr) {
      TOWLINE_RETURN_IF_ERROR(CheckRedescription(*described, *relation, target.table));
    }
    described = relation;
    has_ordered_ = has_ordered_ || target.keeps_order;
    targets_[relation] = {std::make_unique<const Target>(std::move(target)), /*is_touched=*/true};
    touched_.push_back(relation);
    new_targets_.push_back(relation);
  }
  return absl::OkStatus();
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

// So that another table of this name is known as such after a restart.
absl::Status BatchWriter::NoteNewTable(const Relation& relation, const Table& table) {
  if (relation.kind == 'p' || options_.source_oids.contains(relation.name)) return absl::OkStatus();
  if (!expected_.contains(relation.oid)) {
    LogWarning(
        "a table is streamed that was not there at the copy: rows that it has had before it was "
        "selected (as after a rename) do not come by themselves",
        {{"table", QuoteQualified(relation.name.schema, relation.name.name)}});
  }
  options_.source_oids[relation.name] = relation.oid;
  noted_.push_back(relation.name);
  const TableRule* rule = FindRule(options_.policies.rules, relation.name, table.ancestors);
  return AddStreamedPiece(*connection_, options_.claim, relation.name, relation.oid,
                          RuleText(rule));
}

absl::Status BatchWriter::Write(const Batch& batch, size_t begin, size_t end) {
  missed_before_ = pipeline_.missed_rows();
  for (size_t i = begin; i < end; ++i) {
    const Change& change = batch.changes[i];
    const bool is_truncate = change.kind == ChangeKind::kTruncate;
    if (!is_truncate && !(has_ordered_ && TargetOf(change).keeps_order)) continue;
    TOWLINE_RETURN_IF_ERROR(WriteSegment(batch, begin, i));
    begin = i + 1;
    if (is_truncate) {
      TOWLINE_RETURN_IF_ERROR(pipeline_.Drain());
      TOWLINE_RETURN_IF_ERROR(WriteTruncate(change));
    } else {
      TOWLINE_RETURN_IF_ERROR(row_writer_.Write(TargetOf(change), change, i));
    }
  }
  TOWLINE_RETURN_IF_ERROR(WriteSegment(batch, begin, end));
  return pipeline_.Push();
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
  targets_.clear();
  touched_.clear();
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
  for (const Relation* relation : touched_) {
    KnownTarget& known = targets_.find(relation)->second;
    known.is_touched = false;
    tables.push_back(known.target->table.oid);
  }
  touched_.clear();
  shapes_.Check(tables);
}

std::vector<const Target*> BatchWriter::Touched() const {
  std::vector<const Target*> touched;
  for (const Relation* relation : touched_) {
    touched.push_back(targets_.find(relation)->second.target.get());
  }
  return touched;
}

void BatchWriter::ForgetNewTargets() {
  for (const Relation* relation : touched_) targets_.find(relation)->second.is_touched = false;
  touched_.clear();
  for (const Relation* relation : new_targets_) targets_.erase(relation);
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
    emptied.push_back(targets_.find(relation)->second.target.get());
  }
  absl::Status done = TruncateTables(*connection_, emptied, change.truncate_restarts_identity);
  const bool is_one = change.truncated->size() == 1;
  const Relation& first = *change.truncated->front();
  return is_one ? WithFailedTable(done, {first.name, first.oid}) : done;
}

void BatchWriter::Gather(const Batch& batch, size_t begin, size_t end) {
  tables_.clear();
  table_numbers_.clear();
  const Relation* last_relation = nullptr;
  TableWork* work = nullptr;
  for (size_t i = begin; i < end; ++i) {
    const Change& change = batch.changes[i];
    if (change.relation != last_relation) {
      last_relation = change.relation;
      auto [at, is_new] = table_numbers_.try_emplace(TargetOf(change).table.oid, tables_.size());
      if (is_new) tables_.emplace_back();
      work = &tables_[at->second];
    }
    work->changes.push_back(static_cast<uint32_t>(i));
    work->has_only_inserts &= change.kind == ChangeKind::kInsert;
  }
}

absl::Status BatchWriter::WriteSegment(const Batch& batch, size_t begin, size_t end) {
  if (begin == end) return absl::OkStatus();
  Gather(batch, begin, end);
  bool is_first = true;
  for (const TableWork& work : tables_) {
    TOWLINE_RETURN_IF_ERROR(WriteTable(batch, work));
    if (is_first) FaultPoint("apply:in-batch");
    is_first = false;
  }
  return absl::OkStatus();
}

// The changes from `first` on that are inserts of the same relation and that COPY can take.
BatchWriter::Run BatchWriter::FindRun(const Batch& batch, absl::Span<const uint32_t> changes,
                                      size_t first) const {
  Run run{first, false};
  const Relation* relation = batch.changes[changes[first]].relation;
  while (run.end < changes.size()) {
    const Change& change = batch.changes[changes[run.end]];
    if (change.kind != ChangeKind::kInsert || change.relation != relation) break;
    if (change.new_row.size() > kRowBytesMax) break;
    run.has_large_row |= change.new_row.size() >= kLargeRowBytes;
    ++run.end;
  }
  return run;
}

absl::Status BatchWriter::WriteTable(const Batch& batch, const TableWork& work) {
  const absl::Span<const uint32_t> changes = work.changes;
  if (work.has_only_inserts) return WriteInOrder(batch, changes);
  // A table that has been described anew is another target: what its rows mean before and after
  // cannot be compared.
  for (size_t begin = 0; begin < changes.size();) {
    const Target& target = TargetOf(batch.changes[changes[begin]]);
    size_t end = begin;
    while (end < changes.size() && batch.changes[changes[end]].relation == target.relation) ++end;
    const absl::Span<const uint32_t> same = changes.subspan(begin, end - begin);
    begin = end;
    const bool replaces = target.can_fold && Replaces(target, batch, same);
    const bool folds = target.can_fold && !(replaces && target.keeps_rows);
    if (!folds || (target.matching == Matching::kExact && skips_locked_)) {
      TOWLINE_RETURN_IF_ERROR(WriteInOrder(batch, same));
    } else if (target.matching == Matching::kExact) {
      RowFolder folder;
      TOWLINE_RETURN_IF_ERROR(WriteFolded(batch, same, &folder));
    } else {
      Folder folder(FolderOptionsOf(target, replaces));
      TOWLINE_RETURN_IF_ERROR(WriteFolded(batch, same, &folder));
    }
  }
  return absl::OkStatus();
}

bool BatchWriter::Replaces(const Target& target, const Batch& batch,
                           absl::Span<const uint32_t> changes) {
  if (!target.may_clash) return target.replaces;
  if (!replaces_ && !clashes_.HasClashed(target.table.oid)) return false;
  if (changes.size() == 1) return false;  // in nobody's way
  const bool has_updates = std::any_of(changes.begin(), changes.end(), [&](uint32_t index) {
    return batch.changes[index].kind == ChangeKind::kUpdate;
  });
  return has_updates && (replaces_ || clashes_.Replaces(target.table.oid));
}

template <typename AnyFolder>
absl::Status BatchWriter::WriteFolded(const Batch& batch, absl::Span<const uint32_t> changes,
                                      AnyFolder* folder) {
  ScopedStage stage(options_.clock, Stage::kFold);
  const Target& target = TargetOf(batch.changes[changes.front()]);
  auto write_net = [&] {
    ScopedStage writing(options_.clock, Stage::kApply);
    return net_writer_.Write(target, folder->Net());
  };
  for (const uint32_t& index : changes) {
    const Change& change = batch.changes[index];
    if (folder->Add(index, change)) continue;
    if (!folder->is_empty()) {
      TOWLINE_RETURN_IF_ERROR(write_net());
      folder->Clear();
      if (folder->Add(index, change)) continue;
    }
    ScopedStage writing(options_.clock, Stage::kApply);
    TOWLINE_RETURN_IF_ERROR(WriteInOrder(batch, absl::MakeConstSpan(&index, 1)));
  }
  return folder->is_empty() ? absl::OkStatus() : write_net();
}

// As they came: runs of inserts by COPY, the rest as a statement each.
absl::Status BatchWriter::WriteInOrder(const Batch& batch, absl::Span<const uint32_t> changes) {
  for (size_t i = 0; i < changes.size();) {
    const Target& target = TargetOf(batch.changes[changes[i]]);
    Run run = FindRun(batch, changes, i);
    const size_t rows = run.end - i;
    if (target.can_copy && run.has_large_row && rows > 0) {
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
      !IsClashError(failed.failure.status) || clashes_.HasReplaced(target.table.oid)) {
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
