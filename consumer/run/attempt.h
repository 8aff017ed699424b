// One try at the task, from connecting to the first failure, pause included:
//   connect ─▶ take over ─▶ compare ─▶ slot ─▶ copy ─▶ stream ⇄ paused, constraints
// Everything it opens is closed with it; what it has achieved stands in the task row.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "base/shutdown.h"
#include "run/linked_shutdown.h"
#include "run/monitor.h"
#include "run/plugin_options.h"
#include "run/sequence_keeper.h"
#include "run/stream_session.h"
#include "run/task_context.h"
#include "snapshot/copier.h"
#include "snapshot/slot.h"
#include "state/state_store.h"

namespace towline {

class Attempt {
 public:
  // `on_task_known` is called once the task's name is known, before anything is taken over.
  Attempt(TaskContext& context, const Shutdown& shutdown,
          std::function<absl::Status()> on_task_known);

  // kCancelled after an orderly stop, else why it ended.
  absl::Status Run();

  // Since both servers were connected; zero before.
  absl::Duration healthy_for() const;
  bool has_progressed() const { return has_progressed_; }
  // The error is not to be tried again, whatever its code: a wait for the operator came to its end.
  bool is_final() const { return is_final_; }

 private:
  absl::Status RunSteps();
  absl::Status Connect();
  absl::Status Check(bool may_have_slot);
  absl::Status TakeOver();
  absl::Status Compare();
  absl::Status StartMonitor();
  absl::Status PrepareSlot();
  absl::Status FindExtensionRows();
  absl::Status CheckNothingPrepared();
  absl::Status CreateOurSlot(Connection& source);
  absl::Status NoteSlotCreated(Connection& source);
  CopierOptions CopyOptions() const;
  absl::Status CopySchema();
  absl::Status CopyOnce();
  absl::Status AdoptSlot();
  absl::Status CheckAdoptable(Connection& source, const std::string& name, Lsn* position);
  absl::StatusOr<std::vector<PieceRow>> AdoptTables(Connection& source);
  absl::Status Copy();
  absl::Status StayPaused();
  absl::Status Constrain();
  absl::Status Stream();
  absl::Status CheckRules(const std::vector<PieceRow>& pieces);
  absl::Status CheckRulesOf(const std::vector<Table>& tables);
  absl::Status CheckRulesOfCopy();
  absl::StatusOr<StreamSession::Options> StreamOptions();
  absl::StatusOr<SequenceKeeper::Options> SequenceOptions();
  absl::Status SetStatusInterval(Connection& source);
  absl::Status SetPluginOptions(Connection& source);
  absl::Status DecideTwoPhase(Connection& source, const SlotInfo& slot);
  absl::Status CheckTwoPhase(Connection& source);
  absl::StatusOr<bool> SwitchTwoPhaseOff(Connection& source);
  absl::Status WatchStream(StreamSession& session, SequenceKeeper* keeper);  // may be null
  absl::Status MoveOn(Lsn position);
  absl::Status NoteProgress(Lsn position);

  absl::StatusOr<Connection> OpenSource();
  absl::Status SetState(TaskState state);
  void NoteWait(const std::string& waits_for);
  absl::Status WaitEnded(absl::Status status);

  TaskContext& context_;
  const Shutdown& outer_;
  const std::function<absl::Status()> on_task_known_;
  LinkedShutdown stop_;       // of this attempt; above everything that waits with it
  const Shutdown& shutdown_;  // stop_'s
  ServerIdentity source_identity_;
  ServerIdentity destination_identity_;
  std::optional<StateStore> store_;
  TaskRow row_;  // as read or written last
  std::unique_ptr<Monitor> monitor_;
  CopyProgress copy_progress_;
  Lsn catch_up_to_;  // what the source had written when streaming began
  absl::Duration status_interval_;
  PluginOptions plugin_options_;
  bool uses_two_phase_ = false;  // the present stream
  bool has_constraints_left_ = false;
  bool is_constraints_due_ = false;  // the stream has passed the copy and was caught up
  absl::Time connected_at_;
  bool is_checked_ = false;  // all that `check` looks at, in this attempt
  bool has_progressed_ = false;
  bool is_final_ = false;
};

}  // namespace towline
