#include "run/apply_loop.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "model/live_copy.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// How long an idle loop sleeps: durability, progress and a wish to stop are seen to this often.
constexpr absl::Duration kIdleWait = absl::Milliseconds(100);

// An idle database in a busy cluster costs the destination one small commit in this time; in return
// the slot follows and the source may recycle its log.
constexpr absl::Duration kProgressIntervalMin = absl::Seconds(1);

// How long the queue is not looked at while the destination works.
constexpr absl::Duration kAnswerWait = absl::Milliseconds(1);

// What is sent stays in memory while the next batch is decoded: only up to so many times
// batch_bytes_max. A larger one holds a row that is larger than batches get.
constexpr size_t kSentBatchesMax = 2;

// How long a row that cannot be read yet is waited for before the log says so, and how often it
// does.
constexpr absl::Duration kTellAfter = absl::Seconds(1);
constexpr absl::Duration kTellInterval = absl::Seconds(10);

// The stream stands at a table that is being copied: ranges of a key are done in less.
constexpr absl::Duration kTellCopyAfter = absl::Seconds(5);
constexpr absl::Duration kTellCopyInterval = absl::Minutes(1);
constexpr absl::Duration kSameWait = absl::Seconds(1);  // with longer in between it is another

}  // namespace

ApplyLoop::ApplyLoop(Options options, std::unique_ptr<Applier> applier,
                     BoundedQueue<Received>* queue)
    : options_(std::move(options)),
      decoder_(options_.decoder),
      assembler_(AssemblerOptions()),
      applier_(std::move(applier)),
      queue_(queue),
      reported_durable_(applier_->durable_lsn()) {
  Publish(0, false);
}

Assembler::Options ApplyLoop::AssemblerOptions() {
  Assembler::Options options = options_.assembler;
  options.await_copy = [this](const TableName& table) { return AwaitCopy(table); };
  if (options_.moved_rows != nullptr) {
    options.read_moved = [this](const MovedRow& moved) { return ReadMoved(moved); };
  }
  return options;
}

absl::Status ApplyLoop::Run() {
  ScopedStage stage(&options_.meter->applier_clock(), Stage::kWait);
  absl::Status ended = Work();
  // What was sent is good, whatever came behind it.
  absl::Status settled = applier_->Settle();
  if (ended.ok() && settled.ok()) Publish(0, assembler_.oldest_commit_time_us() != 0);
  return ended.ok() ? settled : ended;
}

absl::Status ApplyLoop::Work() {
  while (!stop_) {
    std::optional<Received> first =
        queue_->Pop(applier_->is_settled() ? kIdleWait : absl::ZeroDuration());
    if (first.has_value()) {
      TOWLINE_RETURN_IF_ERROR(Gather(std::move(*first)));
    } else if (!applier_->is_settled()) {
      TOWLINE_RETURN_IF_ERROR(applier_->Settle());
    } else if (queue_->is_closed()) {
      break;
    }
    TOWLINE_RETURN_IF_ERROR(Rest());
  }
  return absl::OkStatus();
}

absl::Status ApplyLoop::Gather(Received first) {
  ScopedStage stage(&options_.meter->applier_clock(), Stage::kAssemble);
  absl::Time deadline = SteadyNow() + options_.batch_time_max;
  std::optional<Received> next(std::move(first));
  while (!stop_) {
    if (next.has_value()) {
      absl::Status consumed = Consume(std::move(*next));
      // Told to stop while it waited for the copy.
      if (stop_ && absl::IsCancelled(consumed)) return absl::OkStatus();
      TOWLINE_RETURN_IF_ERROR(consumed);
      TOWLINE_RETURN_IF_ERROR(ApplyDue(/*is_idle=*/false));
    } else {
      // The next batch cannot begin before the destination has answered: what comes until then
      // belongs to it.
      TOWLINE_ASSIGN_OR_RETURN(const bool is_answered, applier_->AwaitAnswers(kAnswerWait));
      if (is_answered) break;
    }
    if (SteadyNow() >= deadline) break;
    next = queue_->Pop(absl::ZeroDuration());
  }
  return stop_ ? absl::OkStatus() : ApplyDue(/*is_idle=*/true);
}

absl::Status ApplyLoop::Consume(Received received) {
  if (received.kind == Received::Kind::kProgress) {
    assembler_.OnProgress(received.wal_end);
    return absl::OkStatus();
  }
  TOWLINE_ASSIGN_OR_RETURN(Frame frame, decoder_.Unpack(std::move(received.frame)));
  TOWLINE_RETURN_IF_ERROR(decoder_.Decode(frame, assembler_));
  assembler_.AddFrame(std::move(frame));
  return Replay();
}

// A transaction that came while in progress and is committed now. It is applied in parts while it
// is read back: it may be larger than any memory.
absl::Status ApplyLoop::Replay() {
  while (decoder_.is_replaying() && !stop_) {
    TOWLINE_ASSIGN_OR_RETURN(Frame frame, decoder_.Replay(assembler_));
    assembler_.AddFrame(std::move(frame));
    TOWLINE_RETURN_IF_ERROR(ApplyDue(/*is_idle=*/false));
    TOWLINE_RETURN_IF_ERROR(SettleDue());
  }
  return absl::OkStatus();
}

// What comes may bring no batch for long, as the runs of a transaction in progress do: what was
// sent before is committed all the same, with the locks that it holds.
absl::Status ApplyLoop::SettleDue() {
  if (applier_->is_settled() || SteadyNow() - sent_at_ < options_.batch_time_max) {
    return absl::OkStatus();
  }
  return applier_->Settle();
}

// In the midst of a transaction that is decoded. What it has brought so far may be in parts at the
// destination already; then the rest stays as it is until the transaction goes on.
absl::Status ApplyLoop::StandStill() {
  TOWLINE_RETURN_IF_ERROR(ApplyDue(/*is_idle=*/false));
  TOWLINE_RETURN_IF_ERROR(applier_->Settle());
  if (is_in_parts_) Publish(0, /*has_pending=*/true);  // what was sent before it is there now
  TOWLINE_RETURN_IF_ERROR(Rest());
  return stop_ ? absl::CancelledError("told to stop") : absl::OkStatus();
}

absl::Status ApplyLoop::AwaitCopy(const TableName& table) {
  const absl::Time now = SteadyNow();
  if (table != awaited_ || now - awaited_at_ > kSameWait) {
    awaited_ = table;
    await_told_at_ = now + kTellCopyAfter;
  }
  if (now >= await_told_at_) {
    LogInfo("the stream waits for the copy of a table; until then the slot keeps the source's log",
            {{"table", QuoteQualified(table.schema, table.name)}});
    await_told_at_ = now + kTellCopyInterval;
  }
  LiveCopy& live = *options_.assembler.boundary->live;
  const uint64_t change_count = live.change_count();
  FaultPoint("stream:await-copy");
  TOWLINE_RETURN_IF_ERROR(StandStill());
  live.AwaitChange(change_count, kIdleWait);
  awaited_at_ = SteadyNow();
  return absl::OkStatus();
}

// A copy of the table instead would have to wait for the same transaction.
absl::StatusOr<std::optional<std::string>> ApplyLoop::ReadMoved(const MovedRow& moved) {
  const absl::Time deadline = SteadyNow() + options_.visible_wait_max;
  absl::Time tell_at = SteadyNow() + kTellAfter;
  while (true) {
    TOWLINE_RETURN_IF_ERROR(StandStill());
    TOWLINE_ASSIGN_OR_RETURN(MovedRowReader::Answer answer, options_.moved_rows->Read(moved));
    switch (answer.verdict) {
      case MovedRowReader::Verdict::kRead:
        return std::optional<std::string>(std::move(answer.row));
      case MovedRowReader::Verdict::kGone:
        return std::optional<std::string>();
      case MovedRowReader::Verdict::kNotYet:
        break;
    }
    const std::string text = absl::StrCat(
        "the stream waits for transaction ", moved.xid, ", which is committed and not ended yet, ",
        "or for a lock on table ", moved.relation->name.schema, ".", moved.relation->name.name,
        ", to read a row again that it has moved");
    if (SteadyNow() >= deadline) {
      return WithHint(absl::DeadlineExceededError(text),
                      "It waits for a synchronous standby, as a rule: see "
                      "synchronous_standby_names of the source and pg_stat_activity there.");
    }
    if (SteadyNow() >= tell_at) {
      LogInfo(text);
      tell_at = SteadyNow() + kTellInterval;
    }
    absl::SleepFor(kIdleWait);
  }
}

absl::Status ApplyLoop::ApplyDue(bool is_idle) {
  while (!stop_) {
    std::optional<Batch> batch = assembler_.Take(is_idle);
    if (!batch.has_value()) break;
    if (batch->part == BatchPart::kWhole && batch->changes.empty() &&
        batch->two_phase == TwoPhase::kNone) {
      // Nothing to write: the position follows in its own time.
      progress_lsn_ = std::max(progress_lsn_.value_or(Lsn{}), batch->end_lsn);
      continue;
    }
    TOWLINE_RETURN_IF_ERROR(ApplyBatch(*std::move(batch)));
  }
  return absl::OkStatus();
}

absl::Status ApplyLoop::ApplyBatch(Batch batch) {
  const bool is_last = batch.part == BatchPart::kWhole || batch.part == BatchPart::kLast;
  const Lsn end_lsn = batch.end_lsn;
  Publish(batch.oldest_commit_time_us, /*has_pending=*/true);
  is_in_parts_ = !is_last;
  const bool is_sent =
      batch.two_phase == TwoPhase::kNone && batch.ddl == nullptr &&
      batch.bytes <= kSentBatchesMax * static_cast<size_t>(options_.assembler.batch_bytes_max);
  if (is_sent) sent_at_ = SteadyNow();
  TOWLINE_RETURN_IF_ERROR(is_sent ? applier_->Send(std::move(batch)) : applier_->Apply(batch));
  if (!is_last) return absl::OkStatus();
  if (progress_lsn_.has_value() && *progress_lsn_ <= end_lsn) progress_lsn_.reset();
  Publish(0, assembler_.oldest_commit_time_us() != 0);
  return absl::OkStatus();
}

// What is left to do when the queue is empty or a batch has just been applied.
absl::Status ApplyLoop::Rest() {
  if (stop_ || is_in_parts_) return absl::OkStatus();
  if (options_.moved_rows != nullptr) options_.moved_rows->CloseIfIdle();
  TOWLINE_RETURN_IF_ERROR(SettleDue());
  if (progress_lsn_.has_value() && SteadyNow() - progressed_at_ >= kProgressIntervalMin) {
    TOWLINE_RETURN_IF_ERROR(ApplyProgress());
  }
  TOWLINE_RETURN_IF_ERROR(applier_->MakeDurable());
  Publish(0, assembler_.oldest_commit_time_us() != 0 || assembler_.is_inside_transaction());
  return absl::OkStatus();
}

absl::Status ApplyLoop::ApplyProgress() {
  Batch empty;
  empty.end_lsn = *progress_lsn_;
  progress_lsn_.reset();
  progressed_at_ = SteadyNow();
  TOWLINE_RETURN_IF_ERROR(applier_->Settle());
  if (empty.end_lsn <= applier_->position()) return absl::OkStatus();
  return applier_->Apply(empty);
}

void ApplyLoop::Publish(int64_t batch_oldest_us, bool has_pending) {
  if (!applier_->is_settled()) {
    has_pending = true;
    if (applier_->oldest_unsettled_us() != 0) batch_oldest_us = applier_->oldest_unsettled_us();
  }
  const Lsn durable_lsn = applier_->durable_lsn();
  {
    absl::MutexLock lock(&mutex_);
    progress_.position = applier_->position();
    progress_.reached = std::max(progress_.reached, progress_.position);
    if (progress_lsn_.has_value() && applier_->is_settled()) {
      progress_.reached = std::max(progress_.reached, *progress_lsn_);
    }
    progress_.durable_lsn = durable_lsn;
    progress_.oldest_pending_us =
        batch_oldest_us != 0 ? batch_oldest_us : assembler_.oldest_commit_time_us();
    progress_.has_pending = has_pending;
    progress_.description_bytes = is_in_parts_ ? 0 : decoder_.description_bytes();
    progress_.counts = applier_->counts();
  }
  if (durable_lsn <= reported_durable_) return;
  FaultPoint("run:before-ack");
  reported_durable_ = durable_lsn;
  options_.on_durable(durable_lsn);
}

ApplyLoop::Progress ApplyLoop::progress() const {
  absl::MutexLock lock(&mutex_);
  return progress_;
}

}  // namespace towline
