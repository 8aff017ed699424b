#include "run/sequence_keeper.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "snapshot/copy_finish.h"
#include "state/task_name.h"

namespace towline {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(10);
// Thousands of sequences take long to read; a twentieth of one session's time is enough.
constexpr int kPauseFactor = 20;
// In steps of the sequence. The server itself logs a sequence 32 values ahead (SEQ_LOG_VALS in
// sequence.c), so a crash of it leaves the same gap.
constexpr int64_t kMarginMin = 32;
// Quick statements, as the monitor's.
constexpr absl::Duration kAnswerWaitMax = absl::Seconds(30);

}  // namespace

SequenceValue WithMargin(const SequenceValue& before, const SequenceValue& now) {
  SequenceValue value = now;
  if (now.does_cycle || now.increment == 0) return value;
  __int128 moved = static_cast<__int128>(now.last_value) - before.last_value;
  if (moved == 0 && before.is_called == now.is_called) return value;
  // Against its direction: somebody has set it back, which says nothing of its pace.
  bool is_forward = (moved > 0) == (now.increment > 0);
  __int128 margin = static_cast<__int128>(now.increment) * kMarginMin;
  if (is_forward && moved != 0 && (moved > 0 ? 2 * moved > margin : 2 * moved < margin)) {
    margin = 2 * moved;
  }
  __int128 set = static_cast<__int128>(now.last_value) + margin;
  set = std::clamp<__int128>(set, now.min_value, now.max_value);
  value.last_value = static_cast<int64_t>(set);
  value.is_called = true;
  return value;
}

SequenceKeeper::SequenceKeeper(Options options, StateStore& store, const Shutdown& shutdown)
    : options_(std::move(options)), store_(store), shutdown_(shutdown), due_(SteadyNow()) {}

void SequenceKeeper::LookIfDue(Lsn applied) {
  if (SteadyNow() >= due_) Look(applied);
}

void SequenceKeeper::Look(Lsn applied) {
  absl::Time began = SteadyNow();
  absl::Status looked = TryLook(applied);
  due_ = SteadyNow() + std::max(kInterval, kPauseFactor * (SteadyNow() - began));
  if (looked.ok() || absl::IsCancelled(looked)) {
    if (looked.ok()) last_failure_.clear();
    return;
  }
  source_.reset();
  destination_.reset();
  std::string failure(looked.message());
  if (failure == last_failure_) return;
  LogWarning("the sequences are not carried over at present; it is tried again",
             {{"error", failure}, {"mend", GetHint(looked)}});
  last_failure_ = failure;
}

absl::Status SequenceKeeper::Connect() {
  if (!source_) {
    Connection::Purpose purpose;
    purpose.application_name = SourceApplication(options_.task, "sequences");
    TOWLINE_ASSIGN_OR_RETURN(source_, Connection::Open(options_.source, purpose, shutdown_));
    source_->set_answer_wait_max(kAnswerWaitMax);
  }
  if (!destination_) {
    Connection::Purpose purpose;
    purpose.application_name = DestinationApplication(options_.task, "sequences");
    TOWLINE_ASSIGN_OR_RETURN(Connection opened,
                             Connection::Open(options_.destination, purpose, shutdown_));
    TOWLINE_RETURN_IF_ERROR(store_.AddSession(opened, "sequences"));
    destination_ = std::move(opened);
    destination_->set_answer_wait_max(kAnswerWaitMax);
  }
  return absl::OkStatus();
}

absl::Status SequenceKeeper::TryLook(Lsn applied) {
  TOWLINE_RETURN_IF_ERROR(Connect());
  // Anew each time: tables come by schema changes, and leave.
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  TOWLINE_ASSIGN_OR_RETURN(const SequenceSelection selection,
                           SelectSequences(*source_, options_.selection, pieces));
  std::vector<TableName> unreadable;  // named by the check and at the copy
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SequenceValue> values,
                           ReadSequences(*source_, selection, &unreadable));
  std::vector<SequenceValue> moved;
  for (const SequenceValue& value : values) {
    auto before = seen_.find(value.name);
    if (before == seen_.end()) {
      moved.push_back(value);  // the first look: how fast it moves is not known
    } else if (before->second.last_value != value.last_value ||
               before->second.is_called != value.is_called) {
      moved.push_back(WithMargin(before->second, value));
    }
  }
  SequencesSet set;
  if (!moved.empty()) {
    TOWLINE_RETURN_IF_ERROR(destination_->Exec("BEGIN").status());
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(*destination_, store_.claim()));
    TOWLINE_ASSIGN_OR_RETURN(set, SetSequences(*destination_, moved, /*never_back=*/true));
    TOWLINE_RETURN_IF_ERROR(destination_->Exec("COMMIT").status());
  }
  TOWLINE_RETURN_IF_ERROR(NoteMissing(set.missing, applied));
  for (SequenceValue& value : values) {
    TableName name = value.name;
    if (missing_.contains(name)) {
      seen_.erase(name);  // it is set once it comes
    } else {
      seen_[name] = std::move(value);
    }
  }
  return absl::OkStatus();
}

// What was created at the source a moment ago may be on its way: that a sequence is missing is sure
// when the destination has all that the source had then. Told once.
absl::Status SequenceKeeper::NoteMissing(const std::vector<SequenceValue>& missing, Lsn applied) {
  std::map<TableName, Absence> before = std::exchange(missing_, {});
  Lsn source_lsn;
  std::vector<SequenceValue> told;
  for (const SequenceValue& sequence : missing) {
    Absence& absence = missing_[sequence.name];
    if (auto known = before.find(sequence.name); known != before.end()) {
      absence = known->second;
    } else {
      if (!source_lsn.is_valid()) {
        TOWLINE_ASSIGN_OR_RETURN(Result end,
                                 source_->Query("SELECT pg_catalog.pg_current_wal_flush_lsn()"));
        TOWLINE_ASSIGN_OR_RETURN(source_lsn, Lsn::Parse(end.Get(0, 0)));
      }
      absence.source_lsn = source_lsn;
    }
    if (absence.is_sure || !applied.is_valid() || applied < absence.source_lsn) continue;
    absence.is_sure = true;
    told.push_back(sequence);
  }
  if (std::string names = NameSequences(told); !names.empty()) {
    LogWarning("sequences of the source are not at the destination; they will be set once they are",
               {{"sequences", names},
                {"mend",
                 "Create them there as the source has them, with the defaults that use "
                 "them."}});
  }
  return absl::OkStatus();
}

}  // namespace towline
