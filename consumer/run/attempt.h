// One try at the task, from connecting to the first failure, pause included:
//   connect ─▶ take over ─▶ compare ─▶ slot ─▶ copy, with the stream beside it ─▶
//   stream ⇄ paused, constraints
// and where the comparison finds the slot lost, if that is wished: compare ─▶ heal ─▶ stream.
// Everything it opens is closed with it; what it has achieved stands in the task row.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "base/linked_shutdown.h"
#include "base/shutdown.h"
#include "precheck/precheck.h"
#include "run/copy_boundary.h"
#include "run/join_plan.h"
#include "run/monitor.h"
#include "run/plugin_options.h"
#include "run/retry_windows.h"
#include "run/sequence_keeper.h"
#include "run/stream_beside.h"
#include "run/stream_session.h"
#include "run/task_context.h"
#include "schema/type_passage.h"
#include "snapshot/copier.h"
#include "snapshot/live_source.h"
#include "snapshot/piece_copier.h"
#include "snapshot/slot.h"
#include "snapshot/value_types.h"
#include "state/state_store.h"
#include "state/table_request.h"
#include "verify/table_plan.h"

namespace towline {

// How often what is asked of single tables is looked for.
inline constexpr absl::Duration kTablesLookInterval = absl::Milliseconds(500);

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
  // It ended at a table that leaves the stream if a last try ends in the same way.
  bool may_park_at_last() const { return may_park_at_last_; }

 private:
  absl::Status RunSteps();
  absl::Status Connect();
  absl::Status Check(bool may_have_slot);
  absl::Status CheckForHealing();
  absl::Status RunCheck(const CheckOptions& options);
  absl::Status TakeOver();
  absl::Status Compare();
  absl::Status CompareStandby();
  absl::Status CompareSlot();
  absl::Status FindLoss();
  absl::Status StartMonitor();
  absl::StatusOr<Lsn> ReadFork();
  absl::Status DecideFailover(Connection& server, const SlotInfo& slot);
  absl::Status Heal();
  absl::Status RefuseHealing(Connection& source);
  absl::Status RefuseUsedSlot(Connection& source);
  absl::Status RefuseOtherRules(Connection& source, const std::vector<PieceRow>& pieces);
  absl::Status RefuseForeignRows(Connection& destination, const std::vector<PieceRow>& known,
                                 const std::vector<TableJob>& jobs);
  absl::Status ReplaceSlot(Connection& source);
  absl::Status HealRows();
  absl::StatusOr<std::vector<TableJob>> PlanHeal(Connection& source);
  absl::StatusOr<std::vector<PieceRow>> PiecesOfHeal(Connection& source);
  absl::Status RefreshViews(Connection& source, const std::vector<Table>& tables);
  absl::Status PrepareSlot();
  absl::Status FindExtensionRows();
  absl::Status CheckNothingPrepared();
  absl::Status CreateOurSlot(Connection& source, const std::string& name);
  absl::Status NoteOurSlot(Connection& source);
  absl::Status NoteSlotCreated(Connection& source);
  CopierOptions CopyOptions() const;
  absl::Status CopySchema();
  absl::Status CopyOnce();
  absl::Status AdoptSlot();
  absl::Status CheckAdoptable(Connection& source, Connection& server, const std::string& name,
                              Lsn* position);
  absl::StatusOr<std::vector<PieceRow>> AdoptTables(Connection& source);
  absl::Status Copy();
  absl::Status StayPaused();
  absl::Status Constrain();
  absl::Status PrepareStream();
  absl::StatusOr<std::unique_ptr<StreamSession>> StartBeside(LiveCopy& live);
  absl::Status Stream();
  absl::Status CheckRules(const std::vector<PieceRow>& pieces);
  absl::Status CheckRulesOf(const std::vector<Table>& tables);
  absl::Status CheckRulesOfCopy();
  absl::StatusOr<StreamSession::Options> StreamOptions(LiveCopy* live);
  SequenceKeeper::Options SequenceOptions() const;
  absl::Status SetStatusInterval(Connection& server);
  absl::Status SetPluginOptions(Connection& source, Connection& server);
  absl::Status ReadDomains(Connection& source);
  absl::StatusOr<std::vector<std::string>> ParkedPatterns();
  void ShowParked(const std::vector<TableName>& parked);
  // Any thread.
  void ShowRewritten(const TableName& table);
  void ForgetRewritten(const TableName& table);
  absl::Status ReadTask();
  bool MayTablesLeave() const;
  bool MayTablesCome() const;
  absl::Status SelectTables();
  absl::Status ParkUnselected();
  absl::Status NoteLeft(const TableName& table);
  absl::Status ShowTables(const std::vector<PieceRow>& pieces);
  absl::StatusOr<bool> AreTablesDue();
  absl::Status ChangeTables();
  absl::Status TakeUpRequests();
  absl::Status TakeUp(const TableRequest& request, const std::vector<PieceRow>& pieces);
  absl::Status Leave(const TableRequest& request, const std::string& state);
  absl::Status Come(const TableRequest& request, const JoinPlan& plan);
  absl::StatusOr<Connection> OpenJoinSource();
  absl::Status CheckMayJoinNow();
  JoinLook FirstLook() const;
  JoinedTable JoinedTableOf(const PieceRow& piece) const;
  absl::StatusOr<JoinPlan> CheckJoin(const TableRequest& request, const JoinedTable& joined);
  absl::StatusOr<bool> LockToJoin(Connection& session, const TableRequest& request,
                                  const JoinPlan& plan);
  absl::Status BlameLock(const absl::Status& failed, const Table& there);
  absl::Status RefuseExcluded(Connection& source, const TableName& table);
  absl::Status ParkJoining(const TableName& table, const absl::Status& why);
  absl::Status JoinTables();
  using Refusals = std::vector<std::pair<TableName, absl::Status>>;
  absl::StatusOr<std::vector<JoinPlan>> BeginJoining(const CopierOptions& options,
                                                     Refusals* refused);
  absl::Status NoteJoining(Connection& session, const std::vector<JoinPlan>& plans);
  absl::Status EmptyJoining(const CopierOptions& options, const Table& there, bool was_empty,
                            Lsn position);
  absl::Status EmptyBegun(const TableName& table);
  absl::Status CopyJoining(const CopierOptions& options, const std::vector<JoinPlan>& plans);
  // A try at all tables that are joining.
  struct JoinTry {
    const CopierOptions& options;
    StreamBeside& beside;
    Connection* watcher = nullptr;  // of the source
    std::function<absl::Status()> on_tick = nullptr;
    std::optional<JoinPlan> current = std::nullopt;  // whose copy goes on, or has failed
    bool is_called_off = false;
    // Where schema changes are followed: of the current one.
    ValueTypes types = {};   // as the snapshot sees them; empty: there is none yet
    Lsn position = {};       // of the stream, when it was looked at last
    bool has_left = false;   // it is not joining any more
    bool has_begun = false;  // its rows are being copied
  };
  absl::Status CopyEach(const std::vector<JoinPlan>& plans, JoinTry& join);
  absl::Status CopyWhatIsPlanned(const PieceCopy& copy, JoinTry& join, size_t place, size_t number);
  absl::Status CopyFollowed(PieceCopy copy, JoinTry& join, size_t place, size_t number);
  absl::Status CatchUp(JoinTry& join, Lsn until);
  static absl::Status HasLeft(JoinTry& join);
  static absl::StatusOr<bool> IsReached(JoinTry& join, Lsn lsn);
  absl::StatusOr<RangedCopy> PlanFollowed(JoinTry& join, Connection& locked);
  absl::StatusOr<std::optional<PieceRow>> FindJoining(Oid source_oid);
  absl::Status JoinLater(const absl::Status& why);
  absl::Status EndCopy(const absl::Status& copied, JoinTry& join,
                       const std::vector<JoinPlan>& plans);
  absl::Status AnalyzeJoined(const TableName& table);
  absl::StatusOr<bool> IsJoinCalledOff();
  absl::Status AwaitDecision(int64_t number, const absl::Status& held);
  void LetDdlPark();
  ParkTime MayPark(const absl::Status& ended) const;
  absl::Status Park(const absl::Status& why);
  absl::Status DecideTwoPhase(Connection& server, const SlotInfo& slot);
  absl::Status CheckTwoPhase(Connection& server);
  absl::StatusOr<bool> SwitchTwoPhaseOff(Connection& server);
  absl::Status WatchStream(StreamSession& session, SequenceKeeper* keeper);  // may be null
  absl::Status MoveOn(Lsn position);
  absl::Status NoteProgress(Lsn position);

  absl::StatusOr<Connection> OpenSource();
  absl::StatusOr<Connection> OpenControl(const ConnectOptions& server);
  // For what is asked in moments, while the attempt comes to its next long step: each use leaves
  // the session as it found it. Of the second: where the slot is, the source itself if no standby
  // is given.
  absl::StatusOr<Connection*> Source();
  absl::StatusOr<Connection*> StreamServer();
  void CloseControl();
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
  std::optional<Connection> control_;  // see Source()
  std::optional<Connection> standby_control_;
  std::optional<StateStore> store_;
  TaskRow row_;  // as read or written last
  std::unique_ptr<Monitor> monitor_;
  CopyProgress copy_progress_;
  Lsn catch_up_to_;  // what the source had written when streaming began
  absl::Duration status_interval_;
  PluginOptions plugin_options_;
  DomainBases domains_;          // of the source
  bool uses_two_phase_ = false;  // the present stream
  bool has_constraints_left_ = false;
  bool has_first_snapshots_ = false;  // of the first copy; not passed while lsn_after is there
  std::atomic<bool> may_park_ddl_ = false;  // the applier asks
  bool is_constraints_due_ = false;         // the stream has passed the copy and was caught up
  absl::Time tables_looked_at_;             // for what is asked of single tables
  std::string shown_requests_;              // which of it people see
  bool is_joining_ = false;                 // they are being copied, the stream beside them
  JoiningPlaces joining_places_;            // and then where the copy knows them
  Lsn join_after_;                          // the stream is to come there before the next try
  Lsn seen_position_;                       // where it was seen last
  bool has_joining_left_ = false;           // some are to be copied when the last are passed
  bool has_left_ = false;                   // some are to be parked when they may leave
  absl::Time connected_at_;
  bool is_checked_ = false;  // all that `check` looks at, in this attempt
  std::string heal_reason_;  // not empty: the task is to be healed
  bool has_progressed_ = false;
  bool is_final_ = false;
  bool may_park_at_last_ = false;
};

}  // namespace towline
