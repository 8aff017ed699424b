// The part of an attempt that streams, and the pauses between.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/snapshot.h"
#include "run/attempt.h"
#include "run/start_checks.h"
#include "snapshot/slot.h"
#include "state/task_name.h"

namespace towline {
namespace {

// How often a wish to stop or pause and a failure of a thread are looked for.
constexpr absl::Duration kTick = absl::Milliseconds(100);

// What a batch that is being applied may take when we are told to stop, within the 5 s that a stop
// may last altogether.
constexpr absl::Duration kStopGrace = absl::Seconds(3);

// /tmp is memory on many machines, and what goes to files is what memory should not hold.
std::string SpoolDirectory(const Config& config) {
  if (!config.spool_directory.empty()) return config.spool_directory;
  const char* directory = std::getenv("TMPDIR");
  return directory != nullptr && *directory != '\0' ? directory : "/var/tmp";
}

}  // namespace

absl::Status Attempt::StayPaused() {
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kPaused));
  LogInfo("paused; the slot keeps the source's log meanwhile",
          {{"resume", absl::StrCat("towline resume --task ", context_.task)}});
  while (context_.control.wants_pause()) {
    TOWLINE_RETURN_IF_ERROR(monitor_->status());
    if (!outer_.SleepFor(kTick)) return absl::CancelledError("shutting down");
  }
  LogInfo("resumed");
  return absl::OkStatus();
}

absl::Status Attempt::Stream() {
  TOWLINE_ASSIGN_OR_RETURN(row_, store_->ReadTask());
  {
    TOWLINE_ASSIGN_OR_RETURN(Connection source, OpenSource());
    TOWLINE_ASSIGN_OR_RETURN(std::optional<SlotInfo> slot, ReadSlot(source, row_.slot));
    TOWLINE_RETURN_IF_ERROR(CheckSlot(row_, source_identity_.database, slot));
    TOWLINE_RETURN_IF_ERROR(FreeSlot(source, row_.slot, row_.slot,
                                     context_.config.limits.slot_busy_wait_max, shutdown_));
    TOWLINE_ASSIGN_OR_RETURN(std::string flush_lsn,
                             source.QueryValue("SELECT pg_catalog.pg_current_wal_flush_lsn()"));
    TOWLINE_ASSIGN_OR_RETURN(catch_up_to_, Lsn::Parse(flush_lsn));
    TOWLINE_RETURN_IF_ERROR(SetStatusInterval(source));
    TOWLINE_RETURN_IF_ERROR(SetPluginOptions(source));
  }
  TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kCatchingUp));
  TOWLINE_ASSIGN_OR_RETURN(StreamSession::Options options, StreamOptions());
  TOWLINE_ASSIGN_OR_RETURN(std::unique_ptr<StreamSession> session,
                           StreamSession::Start(std::move(options), *store_, shutdown_));
  LogInfo("streaming from the source",
          {{"slot", row_.slot}, {"position", row_.position.ToString()}});
  stop_.set_grace(kStopGrace);
  monitor_->Watch(session.get());
  absl::Status ended = WatchStream(*session);
  // After a failure nothing is worth waiting for; a pause or a stop lets the batch end.
  if (!ended.ok() && !absl::IsCancelled(ended)) stop_.Request();
  session->Stop();
  has_progressed_ |= session->progress().apply.position > row_.position;
  monitor_->Watch(static_cast<const StreamSession*>(nullptr));
  stop_.set_grace(absl::ZeroDuration());
  return ended;
}

// OK when a pause is wished.
absl::Status Attempt::WatchStream(StreamSession& session) {
  while (!context_.control.wants_pause()) {
    TOWLINE_RETURN_IF_ERROR(session.status());
    TOWLINE_RETURN_IF_ERROR(monitor_->status());
    TOWLINE_RETURN_IF_ERROR(MoveOn(session.progress().apply.position));
    if (!outer_.SleepFor(kTick)) return absl::CancelledError("shutting down");
  }
  return absl::OkStatus();
}

// The applier holds the task row's lock while its transaction lasts. Waiting for it must not end a
// long one: what is noted here may be noted later.
absl::Status Attempt::MoveOn(Lsn position) {
  absl::Status noted = NoteProgress(position);
  return GetSqlState(noted) == "55P03" ? absl::OkStatus() : noted;
}

absl::Status Attempt::NoteProgress(Lsn position) {
  if (!row_.snapshot.empty() && position >= row_.lsn_after) {
    // No transaction beyond can be visible in it (hazards A11).
    TOWLINE_RETURN_IF_ERROR(store_->SetSnapshot("", Lsn{}));
    row_.snapshot.clear();
    LogInfo("the stream has passed the copy", {{"position", position.ToString()}});
  }
  if (row_.state == TaskState::kCatchingUp && position >= catch_up_to_) {
    TOWLINE_RETURN_IF_ERROR(SetState(TaskState::kStreaming));
    LogInfo("caught up", {{"position", position.ToString()}});
  }
  return absl::OkStatus();
}

// Three updates within the time after which the source takes us for dead (hazards B8).
absl::Status Attempt::SetStatusInterval(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(Result timeout,
                           source.Exec("SELECT setting::bigint FROM pg_catalog.pg_settings "
                                       "WHERE name = 'wal_sender_timeout'"));
  status_interval_ = context_.config.limits.status_interval;
  if (timeout.row_count() == 1 && timeout.GetInt(0, 0) > 0) {
    status_interval_ = std::min(status_interval_, absl::Milliseconds(timeout.GetInt(0, 0)) / 3);
  }
  return absl::OkStatus();
}

absl::Status Attempt::SetPluginOptions(Connection& source) {
  TOWLINE_ASSIGN_OR_RETURN(Result installed,
                           source.Exec("SELECT default_version FROM "
                                       "pg_catalog.pg_available_extensions WHERE name = "
                                       "'towline'"));
  plugin_options_ = ChoosePluginOptions(context_.config, source.server_version(),
                                        installed.row_count() > 0 ? installed.GetString(0, 0) : "");
  for (const std::string& refusal : plugin_options_.refusals) {
    LogWarning(refusal, {{"mend",
                          "update the extension at the source: install the newer files, "
                          "then ALTER EXTENSION towline UPDATE"}});
  }
  return absl::OkStatus();
}

absl::StatusOr<StreamSession::Options> Attempt::StreamOptions() {
  const Config& config = context_.config;
  const Limits& limits = config.limits;
  StreamSession::Options options;
  options.receiver = {.source = config.source,
                      .application_name = ApplicationName(context_.task, "stream"),
                      .slot = row_.slot,
                      .position = row_.position,
                      .status_interval = status_interval_,
                      .plugin_options = std::move(plugin_options_.options)};
  options.compression = plugin_options_.compression;
  if (plugin_options_.is_streaming) {
    options.spool = Spool::Options{.memory_max = limits.spool_memory_max,
                                   .disk_max = limits.spool_disk_max,
                                   .directory = SpoolDirectory(config),
                                   .prefix = SlotName(context_.task)};
  }

  options.applier.destination = config.destination;
  options.applier.claim = store_->claim();
  options.applier.position = row_.position;
  options.applier.durable_interval_max = limits.durable_interval_max;
  options.applier.conflict_rows_max = limits.conflict_rows_max;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  for (const PieceRow& piece : pieces) {
    options.applier.source_oids[piece.table] = piece.source_oid;
    if (piece.existing == "append") options.applier.append_tables.push_back(piece.table);
  }

  options.assembler.batch_bytes_max = limits.batch_bytes_max;
  options.assembler.batch_rows_max = limits.batch_rows_max;
  options.assembler.position = row_.position;
  if (!row_.snapshot.empty()) {
    TOWLINE_ASSIGN_OR_RETURN(Snapshot snapshot, Snapshot::Parse(row_.snapshot));
    options.assembler.boundary = CopyBoundary{std::move(snapshot), row_.lsn_after};
  }
  options.queue_bytes_max = limits.queue_bytes_max;
  options.batch_time_max = limits.batch_time_max;
  options.on_applied = [this](absl::Duration time) { context_.metrics.ObserveApply(time); };
  return options;
}

}  // namespace towline
