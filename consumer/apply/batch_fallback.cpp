#include "apply/batch_fallback.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// A row that is in the way of many is not written down whole each time.
constexpr size_t kExistingBytesMax = 64 << 10;

// What the server says of the statement, and would say again.
bool IsAnswer(const absl::Status& status) {
  return !GetSqlState(status).empty() && !absl::IsAborted(status) && !absl::IsUnavailable(status) &&
         !absl::IsResourceExhausted(status);
}

bool IsUniqueViolation(ConflictKind kind) {
  return kind == ConflictKind::kInsertExists || kind == ConflictKind::kUpdateExists;
}

}  // namespace

// Behind a savepoint. A refusal leaves things as they were; other errors end the attempt.
template <typename Write>
absl::StatusOr<std::optional<BatchFallback::Stop>> BatchFallback::Try(Write write) {
  TOWLINE_RETURN_IF_ERROR(connection_->Exec("SAVEPOINT towline_slice").status());
  absl::Status written = write();
  if (written.ok()) written = writer_->Drain();
  if (written.ok()) {
    TOWLINE_RETURN_IF_ERROR(connection_->Exec("RELEASE SAVEPOINT towline_slice").status());
    FaultPoint("apply:in-fallback");
    return std::optional<Stop>();
  }
  std::optional<BatchWriter::Failed> failed = writer_->TakeFailure(*batch_);
  if (!failed.has_value()) return written;
  const ChangeKind kind = batch_->changes[failed->failure.change].kind;
  Stop refused{failed->failure, failed->target, ConflictKindOf(kind, failed->failure), {}, ""};
  const bool is_searched = refused.kind.has_value() || IsHiddenInSet(failed->failure);
  if (!is_searched || !failed->is_session_usable) {
    refused.is_session_usable = failed->is_session_usable;
    stop_ = std::move(refused);
    return written;
  }
  TOWLINE_RETURN_IF_ERROR(
      connection_->Exec("ROLLBACK TO SAVEPOINT towline_slice; RELEASE SAVEPOINT towline_slice")
          .status());
  TOWLINE_RETURN_IF_ERROR(writer_->Forget());
  return std::optional<Stop>(std::move(refused));
}

// Behind a savepoint as well: an error that the server answers with undoes what `ask` has done.
template <typename Ask>
absl::Status BatchFallback::Guarded(Ask ask) {
  TOWLINE_RETURN_IF_ERROR(connection_->Exec("SAVEPOINT towline_look").status());
  absl::Status asked = ask();
  if (!asked.ok() && !IsAnswer(asked)) return asked;
  TOWLINE_RETURN_IF_ERROR(connection_
                              ->Exec(asked.ok() ? "RELEASE SAVEPOINT towline_look"
                                                : "ROLLBACK TO SAVEPOINT towline_look")
                              .status());
  return asked;
}

absl::StatusOr<std::optional<BatchFallback::Stop>> BatchFallback::TryWrite(size_t begin,
                                                                           size_t end) {
  return Try([&] { return writer_->Write(*batch_, begin, end); });
}

absl::StatusOr<bool> BatchFallback::WriteSlice(size_t begin, size_t end) {
  ++counts_.slices;
  TOWLINE_ASSIGN_OR_RETURN(std::optional<Stop> refused, TryWrite(begin, end));
  return !refused.has_value();
}

absl::StatusOr<bool> BatchFallback::WriteSingle(size_t change) {
  ++counts_.singles;
  TOWLINE_ASSIGN_OR_RETURN(std::optional<Stop> refused, TryWrite(change, change + 1));
  if (!refused.has_value()) return true;
  const bool inserts = batch_->changes[change].kind == ChangeKind::kInsert;
  TOWLINE_RETURN_IF_ERROR(Resolve(change, *std::move(refused), inserts));
  return false;
}

ConflictAction BatchFallback::ActionOf(const Stop& conflict) const {
  return ActionFor(*policies_, conflict.target->relation->name, conflict.target->table.ancestors,
                   *conflict.kind);
}

absl::Status BatchFallback::Resolve(size_t change, Stop conflict, bool inserts) {
  conflict.failure.change = change;
  if (IsUniqueViolation(*conflict.kind)) {
    TOWLINE_RETURN_IF_ERROR(LookAtOccupants(change, &conflict));
  }
  switch (ActionOf(conflict)) {
    case ConflictAction::kStop:
      return StopAt(std::move(conflict));
    case ConflictAction::kSkip:
      return Record(conflict, ConflictAction::kSkip);
    case ConflictAction::kOverwrite:
      break;
  }
  if (conflict.kind == ConflictKind::kDeleteMissing) {
    return Record(conflict, ConflictAction::kOverwrite);
  }
  if (conflict.kind == ConflictKind::kUpdateMissing) {
    return InsertMissing(change, std::move(conflict));
  }
  return Overwrite(change, std::move(conflict), inserts);
}

absl::Status BatchFallback::InsertMissing(size_t change, Stop conflict) {
  const Change& update = batch_->changes[change];
  if (update.has_unchanged_toast) {
    conflict.hint =
        "The source has not sent all values of the row (large ones that did not change), so it "
        "cannot be inserted: put it there by hand as it was at the source before this change, or "
        "let the change be passed over (on_conflict: {update_missing: skip}), then run again.";
    return StopAt(std::move(conflict));
  }
  TOWLINE_ASSIGN_OR_RETURN(std::optional<Stop> refused, Try([&] {
                             return writer_->row_writer().WriteNewRow(*conflict.target, update,
                                                                      Action::kInsert, change);
                           }));
  if (!refused.has_value()) return Record(conflict, ConflictAction::kOverwrite);
  return Resolve(change, *std::move(refused), true);
}

// The row that has an INSERT's key is not in the way but becomes the new one. Afterwards nothing is
// in the way, or something that is not understood: a stop.
absl::Status BatchFallback::Overwrite(size_t change, Stop conflict, bool inserts) {
  const Change& wanted = batch_->changes[change];
  const Target& target = *conflict.target;
  const bool is_insert = wanted.kind == ChangeKind::kInsert;
  const bool keeps_own = is_insert ? target.is_key_unique : !inserts;
  RowWriter& rows = writer_->row_writer();
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<UniqueKey>* keys, KeysOf(target));
  absl::Status cleared = Guarded([&] {
    for (const UniqueKey& key : *keys) {
      TOWLINE_RETURN_IF_ERROR(
          rows.Occupants(target, wanted, Action::kDeleteOccupants, key, keeps_own).status());
    }
    return absl::OkStatus();
  });
  if (!cleared.ok()) {
    if (!IsAnswer(cleared)) return cleared;
    conflict.failure.status = cleared;
    return StopAt(std::move(conflict));
  }
  TOWLINE_ASSIGN_OR_RETURN(std::optional<Stop> refused, Try([&] {
                             if (!inserts) return writer_->Write(*batch_, change, change + 1);
                             const Action action = keeps_own ? Action::kOverwrite : Action::kInsert;
                             return rows.WriteNewRow(target, wanted, action, change);
                           }));
  if (!refused.has_value()) return Record(conflict, ConflictAction::kOverwrite);
  refused->existing = conflict.existing;
  return StopAt(*std::move(refused));
}

absl::Status BatchFallback::Record(const Stop& conflict, ConflictAction action) {
  ++counts_.conflicts;
  return log_->Add({batch_, conflict.target, &conflict.failure}, *conflict.kind, action,
                   conflict.existing);
}

absl::Status BatchFallback::StopAt(Stop conflict) {
  stop_ = std::move(conflict);
  return absl::UnimplementedError("a change was refused");
}

absl::StatusOr<const std::vector<UniqueKey>*> BatchFallback::KeysOf(const Target& target) {
  auto found = keys_.find(target.table.oid);
  if (found == keys_.end()) {
    TOWLINE_ASSIGN_OR_RETURN(std::vector<UniqueKey> keys,
                             ReadUniqueKeys(*connection_, target.table.oid));
    found = keys_.emplace(target.table.oid, std::move(keys)).first;
  }
  return &found->second;
}

// If the server cannot answer, the conflict is what it said of itself.
absl::Status BatchFallback::LookAtOccupants(size_t change, Stop* conflict) {
  const Change& wanted = batch_->changes[change];
  const bool keeps_own = wanted.kind != ChangeKind::kInsert;
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<UniqueKey>* keys, KeysOf(*conflict->target));
  std::vector<std::string> rows;
  int violated = 0;
  size_t bytes = 0;
  absl::Status asked = Guarded([&] {
    for (const UniqueKey& key : *keys) {
      TOWLINE_ASSIGN_OR_RETURN(
          std::vector<std::string> texts,
          writer_->row_writer().Occupants(*conflict->target, wanted, Action::kFindOccupants, key,
                                          keeps_own));
      if (!texts.empty()) ++violated;
      for (std::string& text : texts) {
        bytes += text.size();
        const bool is_known = std::find(rows.begin(), rows.end(), text) != rows.end();
        if (!is_known && bytes <= kExistingBytesMax) rows.push_back(std::move(text));
      }
    }
    return absl::OkStatus();
  });
  if (!asked.ok()) return IsAnswer(asked) ? absl::OkStatus() : asked;
  if (violated > 1) conflict->kind = ConflictKind::kMultipleUnique;
  if (!rows.empty()) conflict->existing = absl::StrJoin(rows, "\n");
  return absl::OkStatus();
}

}  // namespace towline
