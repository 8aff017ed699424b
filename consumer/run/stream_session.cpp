#include "run/stream_session.h"

#include <utility>

#include "base/fault_point.h"
#include "base/status_macros.h"

namespace towline {

absl::StatusOr<std::unique_ptr<StreamSession>> StreamSession::Start(Options options,
                                                                    StateStore& store,
                                                                    const Shutdown& shutdown) {
  options.receiver.clock = &options.meter->receiver_clock();
  options.applier.meter = options.meter;
  TOWLINE_ASSIGN_OR_RETURN(std::unique_ptr<Applier> applier,
                           Applier::Open(options.applier, shutdown));
  TOWLINE_RETURN_IF_ERROR(store.AddSession(applier->session(), "apply"));
  std::unique_ptr<Spool> spool;
  if (options.spool.has_value()) {
    TOWLINE_ASSIGN_OR_RETURN(spool, Spool::Open(*options.spool));
  }
  FaultPoint("run:before-stream");
  TOWLINE_ASSIGN_OR_RETURN(std::unique_ptr<Receiver> receiver,
                           Receiver::Open(options.receiver, shutdown));
  return std::unique_ptr<StreamSession>(new StreamSession(std::move(options), std::move(receiver),
                                                          std::move(applier), std::move(spool)));
}

StreamSession::StreamSession(Options options, std::unique_ptr<Receiver> receiver,
                             std::unique_ptr<Applier> applier, std::unique_ptr<Spool> spool)
    : queue_(static_cast<size_t>(options.queue_bytes_max)),
      spool_(std::move(spool)),
      receiver_(std::move(receiver)),
      loop_({.decoder = {.spool = spool_.get(),
                         .takes_ddl = options.takes_ddl,
                         .compression = std::move(options.compression)},
             .assembler = std::move(options.assembler),
             .batch_time_max = options.batch_time_max,
             .on_durable = [this](Lsn durable_lsn) { receiver_->SetDurable(durable_lsn); },
             .meter = options.meter,
             .moved_rows = std::move(options.moved_rows),
             .visible_wait_max = options.visible_wait_max},
            std::move(applier), &queue_) {
  receiver_->Run(&queue_);
  thread_ = std::thread([this] { Apply(); });
}

void StreamSession::Apply() {
  absl::Status status = loop_.Run();
  {
    absl::MutexLock lock(&mutex_);
    apply_status_ = std::move(status);
  }
  queue_.Close();
}

absl::Status StreamSession::status() const {
  {
    absl::MutexLock lock(&mutex_);
    if (!apply_status_.ok()) return apply_status_;
  }
  return receiver_->status();
}

void StreamSession::Stop() {
  loop_.Stop();
  if (thread_.joinable()) thread_.join();
  // Last, so that its last status update carries what the last batch made durable.
  receiver_->Stop();
}

StreamSession::Progress StreamSession::progress() const {
  const Receiver::Progress& received = receiver_->progress();
  Progress progress;
  progress.apply = loop_.progress();
  progress.received_lsn = Lsn{received.received_lsn};
  progress.wal_end = Lsn{received.wal_end};
  progress.received_bytes = received.received_bytes;
  progress.queue_bytes = static_cast<int64_t>(queue_.bytes());
  if (spool_ != nullptr) progress.spool = spool_->usage();
  return progress;
}

}  // namespace towline
