// Runs captured commands at the destination, in the transaction of the rows around them and of the
// position, so that a crash at any point leaves all or nothing. What cannot be run, or is not to
// be, holds the task at that place: nothing behind it is applied, nothing is lost, and
// towline_state.ddl_history says what stands there. With on_ddl_error: park what cannot be run is
// taken back to a savepoint, recorded, and its tables leave the stream; the rest goes on.
//
// A table that is rewritten is emptied, the command is run, and the rows that the source has
// computed are written: the destination ends with the source's random() and nextval().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "apply/batch_writer.h"
#include "apply/ddl_decision.h"
#include "apply/ddl_executor.h"
#include "apply/ddl_history.h"
#include "apply/ddl_selection.h"
#include "apply/ddl_survey.h"
#include "apply/parked_tables.h"
#include "model/batch.h"
#include "model/ddl_policy.h"
#include "model/ddl_roles.h"
#include "pg/connection.h"
#include "schema/table_patterns.h"

namespace towline {

// Of an error of Run(): the number in towline_state.ddl_history of the schema change that waits for
// the operator, if the task is to wait for it.
std::optional<int64_t> WaitsForDecision(const absl::Status& status);

class DdlRunner {
 public:
  struct Options {
    DdlPolicy policy;
    DdlRoles roles;
    std::vector<TablePattern> include;  // none: all tables
    std::vector<TablePattern> exclude;
    // What cannot be run does not stop the task: its tables are parked.
    bool parks_refused = false;
    // How long what the policy holds is waited for (WaitsForDecision()), before its tables are
    // parked. Zero: not at all, and they are not.
    absl::Duration hold_max;
    // Whether tables may leave now: not before the stream has passed the copy. Borrowed; null:
    // never.
    const std::atomic<bool>* may_park = nullptr;
    std::vector<FailedTable> parked;
    ParkedTables::Listener on_parked;
    // Whether a table of the source is about to be copied by itself: until its rows are there it is
    // as one that is parked, only that somebody else leaves its rows out. Null: none.
    std::function<bool(Oid source_oid)> is_joining;
  };
  DdlRunner(Connection* connection, BatchWriter* writer, const TargetPolicies* policies,
            TaskClaim claim, Options options);

  // A destination transaction begins.
  void Begin();
  // The batch's command, in the open transaction. After an error the session is of no further use.
  absl::Status Run(const Batch& batch);

  // Rows of rewritten tables belong between the phases of a command that has been run. Gives the
  // batch without those of tables that are parked, or whose command has not been run, if there are
  // any.
  absl::StatusOr<std::optional<Batch>> WithoutLeftOut(const Batch& batch);
  // The rows of a rewrite do not fit: an error, and the command is held; or nothing, and its tables
  // are parked.
  absl::Status RefuseRewrite(const absl::Status& why);

 private:
  enum class Fate : uint8_t { kApplied, kIgnored, kSkipped, kParked };
  static const char* NameOfFate(Fate fate);

  // A command whose kEnd has not come.
  struct Running {
    DdlPlace place;
    DdlCommand command;               // of the last phase but kDrop
    std::optional<Fate> fate;         // none: not decided about yet
    std::string reason;               // why it is not applied
    bool is_approved = false;         // by the operator, whatever the policy says
    bool has_savepoint = false;       // before all that it has done
    bool has_rows_of_others = false;  // that were written behind it
    std::string decision;             // of the operator, as it was read
    std::vector<DdlObject> dropped;
    std::string drop_gap;              // not empty: why dropped is not all of it
    std::vector<DdlObject> compared;   // what may have come to mean something else; empty: nothing
    std::set<std::string> references;  // of those, before the command
    std::map<Oid, TableName> rewritten;  // whose rows come; a materialized view: no name
    std::set<TableName> unmade;          // tables of CREATE TABLE AS that is not run
    DdlMoved moved;                      // as it was looked at first
  };

  // Why a command is not run.
  struct Refusal {
    std::string reason;
    bool waits = false;  // for the operator, in any case
  };
  using MaybeRefusal = std::optional<Refusal>;

  absl::StatusOr<MaybeRefusal> RunPhase(Running* running);
  absl::StatusOr<MaybeRefusal> DecideAndRun(Running* running);
  absl::StatusOr<MaybeRefusal> CheckSubjects(const Running& running);
  absl::StatusOr<MaybeRefusal> CheckEnd(Running* running);
  // Chooses the role that it is run as. Gives why there is none, or nothing.
  absl::StatusOr<std::string> ChooseRole(const DdlCommand& command);
  absl::Status Execute(Running* running);
  absl::Status NoteReferences(Running* running);
  // Why what has been run is not what the source has run; empty: it is.
  absl::StatusOr<std::string> WhyOther(const Running& running);
  absl::StatusOr<MaybeRefusal> Empty(const Running& running);
  // DROP TABLE of the selected tables that are here, by their whole names.
  absl::StatusOr<DdlCommand> DropOfSelected(const Running& running);
  // OID → name, at the destination.
  absl::StatusOr<std::map<std::string, std::string>> ReadSchemas();
  absl::Status NoteSchemas(const std::map<std::string, std::string>& before);
  // After an error of the destination: worth another try, or a refusal.
  absl::StatusOr<MaybeRefusal> Refused(const Running& running, const absl::Status& why);
  absl::Status HoldOrPark(Running* running, const Refusal& refusal);
  absl::Status Hold(const Running& running, const std::string& reason, bool waits = false);
  absl::Status Park(Running* running, const std::string& reason);
  absl::Status ParkTable(const DdlCommand& command, const FailedTable& table, bool with_below);
  absl::Status Finish(uint64_t number);
  absl::Status NoteTables(const Running& running);
  absl::Status NoteMoved(const Running& running);
  absl::Status ForgetLeft(const DdlMoved& moved);
  // Borrows it.
  static SurveyedCommand Surveyed(const Running& running);
  // Its rows are none that the stream has brought.
  bool IsOut(const TableName& table) const;
  bool MayPark() const { return may_park_ != nullptr && may_park_->load(); }
  void NoteRowsOfOthers(const Relation& relation);
  bool IsLeftOut(const Relation& relation) const;

  Connection* connection_;
  BatchWriter* writer_;
  TaskClaim claim_;
  DdlPolicy policy_;
  DdlRoles roles_;
  const bool parks_refused_;
  const absl::Duration hold_max_;
  const std::atomic<bool>* may_park_;
  const std::function<bool(Oid)> is_joining_;
  DdlSelection selection_;
  DdlSurvey survey_;
  DdlExecutor executor_;
  DdlHistory history_;
  ParkedTables parked_;

  // Of the open transaction. Commands run within commands, so there may be several.
  int64_t next_ordinal_ = 0;
  std::map<uint64_t, Running> running_;  // by number
};

}  // namespace towline
