#include "run/monitor.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "run/start_checks.h"
#include "state/prepared.h"
#include "state/task_name.h"
#include "state/verify_look.h"

namespace towline {
namespace {

// The board is refreshed each round; the source is asked every fourth, the slot every eighth, the
// sign of life given every twentieth.
constexpr absl::Duration kRound = absl::Milliseconds(250);
constexpr int64_t kSourceRounds = 4;
constexpr int64_t kSlotRounds = 8;
constexpr int64_t kSignOfLifeRounds = 20;

// Longer than any of our small queries takes on an overloaded server, shorter than the TCP
// timeouts.
constexpr absl::Duration kAnswerWaitMax = absl::Seconds(30);

// A source whose walsender has gone may have ended it for our silence, which reached us as nothing
// when the network swallows packets; a running one shows within one look at the slot.
constexpr absl::Duration kWalsenderMissingMax = absl::Seconds(10);

absl::StatusOr<Connection> OpenSession(const ConnectOptions& options, std::string application_name,
                                       const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = std::move(application_name);
  TOWLINE_ASSIGN_OR_RETURN(Connection connection, Connection::Open(options, purpose, shutdown));
  connection.set_answer_wait_max(kAnswerWaitMax);
  return connection;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Monitor>> Monitor::Start(const Options& options, StateStore& store,
                                                        StatusBoard& board,
                                                        const Shutdown& shutdown) {
  const std::string& task = options.claim.task;
  TOWLINE_ASSIGN_OR_RETURN(
      Connection source, OpenSession(options.source, SourceApplication(task, "monitor"), shutdown));
  std::optional<Connection> standby;
  if (options.source_standby.has_value()) {
    TOWLINE_ASSIGN_OR_RETURN(standby, OpenSession(*options.source_standby,
                                                  SourceApplication(task, "monitor"), shutdown));
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Connection destination,
      OpenSession(options.destination, DestinationApplication(task, "monitor"), shutdown));
  TOWLINE_RETURN_IF_ERROR(store.AddSession(destination, "monitor"));
  return std::unique_ptr<Monitor>(new Monitor(options, board, shutdown, std::move(source),
                                              std::move(standby), std::move(destination)));
}

Monitor::Monitor(Options options, StatusBoard& board, const Shutdown& shutdown, Connection source,
                 std::optional<Connection> standby, Connection destination)
    : options_(std::move(options)),
      board_(board),
      shutdown_(shutdown),
      source_(std::move(source)),
      standby_(std::move(standby)),
      destination_(std::move(destination)),
      thread_([this] { Loop(); }) {}

Monitor::~Monitor() {
  end_.Request();
  thread_.join();
}

void Monitor::Loop() {
  for (int64_t round = 0; !shutdown_.is_requested(); ++round) {
    absl::Status looked = Look(round);
    if (!looked.ok()) {
      Fail(looked);
      return;
    }
    UpdateBoard();
    if (!end_.SleepFor(kRound)) return;
  }
}

void Monitor::Fail(const absl::Status& status) {
  if (absl::IsCancelled(status)) return;  // told to stop: not a failure of its own
  {
    absl::MutexLock lock(&mutex_);
    status_ = status;
  }
  options_.on_failure();
}

absl::Status Monitor::Look(int64_t round) {
  if (round % kSignOfLifeRounds == 0) TOWLINE_RETURN_IF_ERROR(LookAtDestination());
  if (round % kSourceRounds == 0) TOWLINE_RETURN_IF_ERROR(LookAtSource());
  if (round % kSourceRounds == 0) TOWLINE_RETURN_IF_ERROR(LookAtStandby());
  if (round % kSourceRounds == 0) TOWLINE_RETURN_IF_ERROR(LookAtCopy());
  if (round % kSlotRounds == 0) return LookAtSlot();
  return absl::OkStatus();
}

absl::Status Monitor::LookAtDestination() {
  TOWLINE_RETURN_IF_ERROR(StateStore::TouchSessions(destination_, options_.claim));
  TOWLINE_RETURN_IF_ERROR(NoteCopyProgress());
  TOWLINE_ASSIGN_OR_RETURN(
      Result conflicts,
      destination_.Query("SELECT type, resolution, count FROM towline_state.conflict_total "
                         "WHERE task = $1 ORDER BY type, resolution",
                         {options_.claim.task}));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PreparedTransaction> prepared,
                           ListPrepared(destination_, options_.claim.task));
  TOWLINE_ASSIGN_OR_RETURN(VerifySummary verify,
                           ReadVerifySummary(destination_, options_.claim.task));
  board_.Update([&](TaskStatus& status) {
    status.verify = std::move(verify);
    status.conflicts = 0;
    status.conflict_totals.clear();
    for (int row = 0; row < conflicts.row_count(); ++row) {
      status.conflict_totals.push_back(
          {conflicts.GetString(row, 0), conflicts.GetString(row, 1), conflicts.GetInt(row, 2)});
      status.conflicts += conflicts.GetInt(row, 2);
    }
    // Each has a row until there are too many; those that somebody deletes are not counted.
    status.conflict_rows_dropped =
        std::max<int64_t>(0, status.conflicts - options_.conflict_rows_max);
    status.prepared = static_cast<int64_t>(prepared.size());
    status.prepared_oldest_seconds = prepared.empty() ? 0 : prepared.front().age_seconds;
  });
  return absl::OkStatus();
}

absl::Status Monitor::NoteCopyProgress() {
  std::vector<PieceProgress> pieces;
  {
    absl::MutexLock lock(&mutex_);
    if (copy_ == nullptr) return absl::OkStatus();
    for (const TableStatus& table : copy_->tables.Copying()) {
      pieces.push_back({table.name, table.rows_done, table.bytes_done});
    }
  }
  return StateStore::NotePieces(destination_, options_.claim, pieces);
}

absl::Status Monitor::LookAtSource() {
  absl::Time asked_at = SteadyNow();
  TOWLINE_ASSIGN_OR_RETURN(
      Result row,
      source_.Exec("SELECT pg_catalog.pg_current_wal_flush_lsn(), (1000000 * "
                   "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()))::bigint"));
  TOWLINE_ASSIGN_OR_RETURN(Lsn flush_lsn, Lsn::Parse(row.Get(0, 0)));
  absl::Time source_time = absl::FromUnixMicros(row.GetInt(0, 1));
  absl::Time middle = asked_at + (SteadyNow() - asked_at) / 2;
  options_.meter->SetSourceClockAhead(source_time - middle);
  absl::MutexLock lock(&mutex_);
  source_clock_offset_ = source_time - middle;
  source_flush_lsn_ = flush_lsn;
  lag_.AddSample(source_time, flush_lsn);
  return absl::OkStatus();
}

// A standby that is promoted goes on sending, from a log that the source does not have.
absl::Status Monitor::LookAtStandby() {
  if (!standby_.has_value()) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(std::string is_in_recovery,
                           standby_->QueryValue("SELECT pg_catalog.pg_is_in_recovery()"));
  return is_in_recovery == "t" ? absl::OkStatus() : StandbyWasPromoted();
}

// What the copy does to the source.
absl::Status Monitor::LookAtCopy() {
  bool has_rows_left = false;
  {
    absl::MutexLock lock(&mutex_);
    if (copy_ == nullptr) return absl::OkStatus();
    has_rows_left = copy_->tables_done < copy_->tables_total;
  }
  if (has_rows_left) {
    TOWLINE_RETURN_IF_ERROR(options_.brake->Look(source_, board_));
  } else {
    options_.brake->End(board_);
  }
  return lock_waiters_.Look(source_, options_.claim.task);
}

absl::Status Monitor::LookAtSlot() {
  TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot,
                           ReadSlot(standby_ ? *standby_ : source_, options_.slot));
  board_.Update([&slot](TaskStatus& status) {
    status.wal_status = slot.has_value() ? slot->wal_status : "";
    status.slot_safe_wal_bytes = slot.has_value() ? slot->safe_wal_bytes : -1;
    status.slot_retained_bytes = slot.has_value() ? slot->retained_bytes : 0;
  });
  if (slot.has_value() && slot->is_synchronous && !is_synchronous_told_) {
    is_synchronous_told_ = true;
    LogWarning(
        "the source counts our stream among its synchronous standbys: its commits may wait until "
        "the destination has them",
        {{"mend", "name others in synchronous_standby_names"}});
  }
  absl::MutexLock lock(&mutex_);
  if (stream_ == nullptr) return absl::OkStatus();
  bool is_ours = slot.has_value() && slot->active_pid == stream_->walsender_pid();
  if (is_ours) walsender_seen_at_ = SteadyNow();
  if (SteadyNow() - walsender_seen_at_ < kWalsenderMissingMax) return absl::OkStatus();
  stream_status_ = absl::UnavailableError(
      "the source has ended our walsender, and its connection did not tell us");
  return is_beside_ ? absl::OkStatus() : stream_status_;
}

void Monitor::Watch(CopyProgress* copy) {
  UpdateBoard();
  if (copy == nullptr) options_.brake->End(board_);
  absl::MutexLock lock(&mutex_);
  copy_ = copy;
  copy_rates_ = {};
}

void Monitor::Watch(const StreamSession* stream) { WatchStream(stream, /*is_beside=*/false); }

void Monitor::WatchBeside(const StreamSession* stream) { WatchStream(stream, /*is_beside=*/true); }

void Monitor::WatchStream(const StreamSession* stream, bool is_beside) {
  UpdateBoard();
  absl::MutexLock lock(&mutex_);
  stream_ = stream;
  is_beside_ = is_beside;
  stream_status_ = absl::OkStatus();
  walsender_seen_at_ = SteadyNow();
  before_stream_ = board_.Get();
}

void Monitor::UpdateBoard() {
  absl::MutexLock lock(&mutex_);
  board_.Update([this](TaskStatus& status) {
    mutex_.AssertHeld();
    if (source_flush_lsn_.is_valid()) status.source_flush_lsn = source_flush_lsn_;
    if (copy_ != nullptr) ShowCopy(status);
    if (stream_ != nullptr) ShowStream(status);
    options_.meter->Show(SteadyNow(), status);
    // Nothing streams: what the source has written beyond the position waits for us.
    if (status.source_flush_lsn.is_valid() && status.durable_lsn.is_valid()) {
      status.lag_bytes =
          status.source_flush_lsn > status.durable_lsn
              ? static_cast<int64_t>(status.source_flush_lsn.value - status.durable_lsn.value)
              : 0;
    }
  });
}

void Monitor::ShowCopy(TaskStatus& status) {
  const absl::Time now = SteadyNow();
  copy_->tables.Sample(now);
  status.tables_total = copy_->tables_total;
  status.tables_done = copy_->tables_done;
  status.copy_bytes_total = copy_->bytes_total;
  status.copy_bytes_done = copy_->bytes_done;
  status.copy_rows_done = copy_->rows_done;
  status.statements_total = copy_->statements_total;
  status.statements_done = copy_->statements_done;
  status.copy_note = copy_->note();
  status.tables = copy_->tables.Largest(kTablesShownMax);
  status.tables_left_out =
      static_cast<int64_t>(copy_->tables.size()) - static_cast<int64_t>(status.tables.size());
  // Indexes are built when all tables are copied: rates of then say nothing.
  bool is_copying = status.tables_done < status.tables_total;
  if (is_copying) copy_rates_.Add(now, status.copy_bytes_done, status.copy_rows_done);
  status.copy_bytes_per_second = is_copying ? copy_rates_.bytes_per_second() : 0;
  status.copy_rows_per_second = is_copying ? copy_rates_.rows_per_second() : 0;
  status.copy_eta_seconds =
      SecondsLeft(status.copy_bytes_total, status.copy_bytes_done, status.copy_bytes_per_second);
}

void Monitor::ShowStream(TaskStatus& status) {
  StreamSession::Progress progress = stream_->progress();
  const ApplyLoop::Progress& apply = progress.apply;
  status.received_lsn = progress.received_lsn;
  status.position = apply.position;
  status.durable_lsn = apply.durable_lsn;
  status.queue_bytes = progress.queue_bytes;
  status.spool_transactions = progress.spool.logs;
  status.spool_memory_bytes = progress.spool.memory_bytes;
  status.spool_disk_bytes = progress.spool.disk_bytes;
  status.received_bytes = before_stream_.received_bytes + progress.received_bytes;
  status.rows_inserted = before_stream_.rows_inserted + apply.counts.inserted;
  status.rows_updated = before_stream_.rows_updated + apply.counts.updated;
  status.rows_deleted = before_stream_.rows_deleted + apply.counts.deleted;
  status.truncates = before_stream_.truncates + apply.counts.truncated;
  status.batches = before_stream_.batches + apply.counts.batches;
  status.batches_refused = before_stream_.batches_refused + apply.counts.fallbacks;
  status.batches_clashed = before_stream_.batches_clashed + apply.counts.clashes;
  status.transactions = before_stream_.transactions + apply.counts.transactions;
  // With nothing on its way, all that the source has sent is at the destination or not for it.
  bool is_idle = !apply.has_pending && progress.queue_bytes == 0;
  Lsn reached = is_idle ? std::max(apply.position, progress.wal_end) : apply.position;
  status.lag_seconds =
      lag_.Seconds(SteadyNow() + source_clock_offset_, reached, apply.oldest_pending_us);
}

absl::Status Monitor::status() const {
  absl::MutexLock lock(&mutex_);
  return status_;
}

absl::Status Monitor::stream_status() const {
  absl::MutexLock lock(&mutex_);
  return stream_status_;
}

Lsn Monitor::source_flush_lsn() const {
  absl::MutexLock lock(&mutex_);
  return source_flush_lsn_;
}

}  // namespace towline
