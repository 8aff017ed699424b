#include "apply/ddl_runner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "apply/ddl_checks.h"
#include "apply/ddl_drops.h"
#include "apply/ddl_references.h"
#include "apply/ddl_text.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/role_fit.h"

namespace towline {
namespace {

constexpr char kWaitedForUrl[] = "towline/waited-for";

bool IsDrop(const DdlCommand& command) { return absl::StartsWith(command.tag, "DROP "); }

// Tables, functions and operators, schemas, all else.
bool IsUndefined(const absl::Status& status) {
  const std::string state = GetSqlState(status);
  return state == "42P01" || state == "42883" || state == "3F000" || state == "42704";
}

// For people: what the command is about, without its text, which may hold values.
std::string Label(const DdlCommand& command, const std::vector<DdlObject>& dropped) {
  std::string label = command.tag;
  for (const auto* objects : {&command.objects, &dropped}) {
    if (objects->empty()) continue;
    absl::StrAppend(&label, " (", objects->front().type, " ", objects->front().identity,
                    objects->size() > 1 ? " and more)" : ")");
    break;
  }
  return label;
}

// What is worth a try again without anybody doing anything.
bool IsPassing(const absl::Status& status) {
  return absl::IsAborted(status) || absl::IsUnavailable(status) || absl::IsCancelled(status) ||
         absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status);
}

std::string NotCaptured(const std::string& gap) {
  return absl::StrCat("the source could not capture it: ", gap);
}

}  // namespace

std::optional<int64_t> WaitsForDecision(const absl::Status& status) {
  int64_t number = 0;
  const auto payload = status.GetPayload(kWaitedForUrl);
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &number)) return {};
  return number;
}

DdlRunner::DdlRunner(Connection* connection, BatchWriter* writer, const TargetPolicies* policies,
                     TaskClaim claim, Options options)
    : connection_(connection),
      writer_(writer),
      claim_(claim),
      policy_(options.policy),
      roles_(options.roles),
      parks_refused_(options.parks_refused),
      hold_max_(options.hold_max),
      may_park_(options.may_park),
      is_joining_(std::move(options.is_joining)),
      selection_(connection, policies, std::move(options.include), std::move(options.exclude)),
      survey_(&selection_, &policy_, [this](const TableName& table) { return IsOut(table); }),
      executor_(connection, writer, &selection_),
      history_(connection, claim),
      parked_(connection, std::move(claim), options.parked, std::move(options.on_parked)) {}

void DdlRunner::Begin() {
  next_ordinal_ = 0;
  running_.clear();
}

const char* DdlRunner::NameOfFate(Fate fate) {
  switch (fate) {
    case Fate::kApplied:
      return "applied";
    case Fate::kIgnored:
      return "ignored";
    case Fate::kSkipped:
      return "skipped";
    case Fate::kParked:
      return "parked";
  }
  return "";
}

absl::Status DdlRunner::Run(const Batch& batch) {
  const DdlCommand& command = *batch.ddl;
  auto [at, is_first] = running_.try_emplace(command.number);
  Running& running = at->second;
  if (is_first) {
    const TransactionMark& mark = batch.transactions.front();
    running.place = {mark.end_lsn, mark.xid, next_ordinal_++};
  }
  if (command.phase == DdlPhase::kDrop) {
    if (running.drop_gap.empty()) running.drop_gap = command.gap;
    running.dropped.insert(running.dropped.end(), command.objects.begin(), command.objects.end());
    return absl::OkStatus();
  }
  running.command = command;
  if (command.phase == DdlPhase::kEnd && command.gap.empty()) {
    running.command.gap = running.drop_gap;
  }
  if (command.phase == DdlPhase::kRewrite) {
    for (const DdlObject& table : command.objects) {
      running.rewritten[table.oid] = table.type == "table" ? table.table : TableName();
    }
  }
  TOWLINE_ASSIGN_OR_RETURN(MaybeRefusal refusal, RunPhase(&running));
  if (refusal.has_value()) TOWLINE_RETURN_IF_ERROR(HoldOrPark(&running, *refusal));
  if (command.phase == DdlPhase::kEnd) return Finish(command.number);
  if (command.phase == DdlPhase::kStart && running.fate != Fate::kApplied) {
    for (const DdlObject& table : command.objects) running.unmade.insert(table.table);
  }
  return absl::OkStatus();
}

absl::StatusOr<DdlRunner::MaybeRefusal> DdlRunner::RunPhase(Running* running) {
  if (!running->fate.has_value()) {
    TOWLINE_ASSIGN_OR_RETURN(MaybeRefusal refusal, DecideAndRun(running));
    FaultPoint("apply:after-ddl");
    return refusal;
  }
  if (running->command.phase == DdlPhase::kEnd) return CheckEnd(running);
  // Of a command that rewrites several tables, the next. Empty tables are altered faster; one that
  // turns out to be held is rolled back.
  const bool empties =
      running->command.phase == DdlPhase::kRewrite && running->fate == Fate::kApplied;
  if (!empties) return MaybeRefusal();
  TOWLINE_ASSIGN_OR_RETURN(MaybeRefusal refusal, CheckSubjects(*running));
  return refusal.has_value() ? refusal : Empty(*running);
}

// Of a command that is applied, tables that are told after it was decided about.
absl::StatusOr<DdlRunner::MaybeRefusal> DdlRunner::CheckSubjects(const Running& running) {
  if (running.is_approved || !policy_.GoesBySubject()) return MaybeRefusal();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<DdlSubject> subjects,
                           survey_.ReadSubjects(Surveyed(running)));
  if (subjects.empty()) return MaybeRefusal();  // tables that are not selected
  const DdlWord word = WordFor(KindOf(running.command), policy_, subjects);
  if (word.action == DdlAction::kApply) return MaybeRefusal();
  return Refusal{absl::StrCat(word.reason, ", and it rewrites tables of which that is not said"),
                 /*waits=*/true};
}

// What is told at the end only, of a command that was decided about when it began.
absl::StatusOr<DdlRunner::MaybeRefusal> DdlRunner::CheckEnd(Running* running) {
  if (running->fate == Fate::kApplied && !running->command.gap.empty()) {
    return Refusal{NotCaptured(running->command.gap)};
  }
  if (running->fate == Fate::kApplied) {
    TOWLINE_ASSIGN_OR_RETURN(std::string why, WhyOther(*running));
    if (!why.empty()) return Refusal{std::move(why)};
    // It was asked about by the tables that it rewrites, and is of those that it names as well.
    return running->rewritten.empty() ? MaybeRefusal() : CheckSubjects(*running);
  }
  if (running->fate != Fate::kIgnored) return MaybeRefusal();
  TOWLINE_ASSIGN_OR_RETURN(DdlCircumstances circumstances, survey_.LookAround(Surveyed(*running)));
  DdlDecision decided = Decide(running->command, policy_, circumstances);
  if (decided.action == DdlAction::kIgnore) return MaybeRefusal();
  return Refusal{decided.reason.empty() ? "it rewrites tables that are not selected, and is of "
                                          "others that are"
                                        : decided.reason,
                 /*waits=*/true};
}

absl::StatusOr<DdlRunner::MaybeRefusal> DdlRunner::DecideAndRun(Running* running) {
  const DdlCommand& command = running->command;
  TOWLINE_ASSIGN_OR_RETURN(running->decision, history_.ReadDecision(running->place));
  TOWLINE_ASSIGN_OR_RETURN(DdlCircumstances circumstances, survey_.LookAround(Surveyed(*running)));
  running->moved = circumstances.moved;
  if (running->decision == "skip") {
    running->fate = Fate::kSkipped;
    return MaybeRefusal();
  }
  DdlDecision decided = Decide(command, policy_, circumstances);
  if (decided.action == DdlAction::kIgnore) {
    running->fate = Fate::kIgnored;
    running->reason = decided.reason;
    return MaybeRefusal();
  }
  running->is_approved = running->decision == "approve" && command.gap.empty();
  if (decided.action == DdlAction::kHold && !running->is_approved) {
    return Refusal{decided.reason, decided.waits};
  }
  TOWLINE_ASSIGN_OR_RETURN(std::string why, ChooseRole(command));
  if (!why.empty()) return Refusal{std::move(why)};
  TOWLINE_RETURN_IF_ERROR(connection_->Exec("SAVEPOINT towline_ddl").status());
  running->has_savepoint = true;
  running->fate = Fate::kApplied;
  TOWLINE_ASSIGN_OR_RETURN(why, WhyTableMissing(connection_, command));
  if (!why.empty()) return Refusal{std::move(why)};
  TOWLINE_ASSIGN_OR_RETURN(why, WhySchemaMissing(connection_, command));
  if (!why.empty()) return Refusal{std::move(why)};
  const bool rewrites = command.phase == DdlPhase::kRewrite;
  bool empties_behind = false;
  if (rewrites) {
    TOWLINE_ASSIGN_OR_RETURN(empties_behind, executor_.IsReferenced(command));
  }
  if (rewrites && !empties_behind) {
    TOWLINE_ASSIGN_OR_RETURN(MaybeRefusal refusal, Empty(*running));
    if (refusal.has_value()) return refusal;
  }
  const bool renames_schema = HasAction(command, "RENAME SCHEMA");
  std::map<std::string, std::string> schemas;
  if (renames_schema) {
    TOWLINE_ASSIGN_OR_RETURN(schemas, ReadSchemas());
  }
  if (!running->is_approved) TOWLINE_RETURN_IF_ERROR(NoteReferences(running));
  absl::Status executed = Execute(running);
  if (!executed.ok()) return Refused(*running, executed);
  if (renames_schema) TOWLINE_RETURN_IF_ERROR(NoteSchemas(schemas));
  TOWLINE_ASSIGN_OR_RETURN(why, WhyOther(*running));
  if (!why.empty()) return Refusal{std::move(why)};
  return empties_behind ? Empty(*running) : MaybeRefusal();
}

absl::StatusOr<std::string> DdlRunner::ChooseRole(const DdlCommand& command) {
  if (roles_.empty()) return std::string();
  const std::optional<std::string> role = roles_.For(command.role);
  if (!role.has_value()) {
    return absl::StrCat("ddl_role says no role for ", QuoteIdentifier(command.role),
                        ", who has run it at the source");
  }
  TOWLINE_ASSIGN_OR_RETURN(std::string ours, connection_->QueryValue("SELECT current_user"));
  executor_.set_role(*role);
  return WhyRoleUnfit(*connection_, *role, ours);
}

// The table that CREATE TABLE AS makes has the source's own words for its columns.
absl::Status DdlRunner::NoteReferences(Running* running) {
  const DdlCommand& command = running->command;
  if (command.objects.empty() || !command.references.has_value()) return absl::OkStatus();
  running->compared = command.objects;
  TOWLINE_ASSIGN_OR_RETURN(running->references, ReadReferences(connection_, running->compared));
  return absl::OkStatus();
}

absl::StatusOr<std::string> DdlRunner::WhyOther(const Running& running) {
  const DdlCommand& command = running.command;
  if (running.compared.empty() || !command.references.has_value()) return std::string();
  TOWLINE_ASSIGN_OR_RETURN(std::set<std::string> after,
                           ReadReferences(connection_, running.compared));
  return WhyOtherReferences(running.references, after, *command.references, command.statement);
}

absl::Status DdlRunner::Execute(Running* running) {
  const DdlCommand& command = running->command;
  if (command.tag == "DROP OWNED") {
    return executor_.DropAll(DropStatements(command, running->dropped));
  }
  if (command.tag == "DROP TABLE") {
    TOWLINE_ASSIGN_OR_RETURN(DdlCommand selected, DropOfSelected(*running));
    return executor_.Execute(selected);
  }
  if (command.tag == "CREATE SCHEMA") {
    DdlCommand made = command;
    for (const DdlObject& object : command.objects) {
      if (object.type != "schema") continue;
      const bool keeps_owner = policy_.ActionFor(DdlKind::kOwner) == DdlAction::kApply;
      made.statement = AsSchema(command.statement, object.identity, keeps_owner);
    }
    return executor_.Execute(made);
  }
  DdlCommand named = command;
  const std::string drop = DropByWholeNames(command, running->dropped);
  if (!drop.empty()) named.statement = drop;
  absl::Status executed = executor_.Execute(named);
  if (!IsDrop(command) || !IsUndefined(executed)) return executed;
  // What was parked or skipped was never made, an index whose building failed stands at the source
  // only.
  TOWLINE_RETURN_IF_ERROR(connection_->Exec("ROLLBACK TO SAVEPOINT towline_ddl").status());
  running->reason = absl::StrCat("not all of it was here: ", executed.message());
  LogWarning(
      "the source has dropped what is not at the destination",
      {{"command", Label(command, running->dropped)}, {"reason", std::string(executed.message())}});
  named.statement = WithIfExists(command.tag, named.statement);
  return executor_.Execute(named);
}

absl::StatusOr<DdlRunner::MaybeRefusal> DdlRunner::Refused(const Running& running,
                                                           const absl::Status& why) {
  if (IsPassing(why) || GetSqlState(why).empty()) {
    return WithContext(
        why, absl::StrCat("running the source's ", Label(running.command, running.dropped)));
  }
  return Refusal{absl::StrCat("the destination refuses it: ", why.message(), " (SQLSTATE ",
                              GetSqlState(why), ")")};
}

absl::StatusOr<DdlCommand> DdlRunner::DropOfSelected(const Running& running) {
  std::vector<std::string> tables;
  for (const DdlObject& object : running.dropped) {
    if (object.type != "table") continue;
    TOWLINE_ASSIGN_OR_RETURN(bool is_selected, selection_.IsSelected(object.table));
    if (is_selected) tables.push_back(QuoteQualified(object.table.schema, object.table.name));
  }
  DdlCommand selected = running.command;
  selected.statement =
      WithIfExists(selected.tag, AsDropOf(selected.tag, selected.statement, tables));
  return selected;
}

absl::StatusOr<std::map<std::string, std::string>> DdlRunner::ReadSchemas() {
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           connection_->Query("SELECT oid, nspname FROM pg_catalog.pg_namespace"));
  std::map<std::string, std::string> schemas;
  for (int row = 0; row < rows.row_count(); ++row) {
    schemas[rows.GetString(row, 0)] = rows.GetString(row, 1);
  }
  return schemas;
}

// Of the one that has another name now all tables have.
absl::Status DdlRunner::NoteSchemas(const std::map<std::string, std::string>& before) {
  TOWLINE_ASSIGN_OR_RETURN(auto now, ReadSchemas());
  for (const auto& [oid, name] : before) {
    auto found = now.find(oid);
    if (found == now.end() || found->second == name) continue;
    TOWLINE_RETURN_IF_ERROR(writer_->RenameSchema(name, found->second));
    TOWLINE_RETURN_IF_ERROR(parked_.RenameSchema(name, found->second));
  }
  return absl::OkStatus();
}

bool DdlRunner::IsOut(const TableName& table) const {
  if (parked_.Contains(table)) return true;
  return is_joining_ != nullptr && is_joining_(writer_->SourceOidOf(table));
}

// What is parked keeps its rows, and gets none.
absl::StatusOr<DdlRunner::MaybeRefusal> DdlRunner::Empty(const Running& running) {
  DdlCommand command = running.command;
  std::erase_if(command.objects, [&](const DdlObject& object) { return IsOut(object.table); });
  absl::StatusOr<std::string> why_not = executor_.Empty(command);
  if (!why_not.ok()) return Refused(running, why_not.status());
  return why_not->empty() ? MaybeRefusal() : Refusal{*std::move(why_not)};
}

absl::Status DdlRunner::HoldOrPark(Running* running, const Refusal& refusal) {
  // The refused statement has aborted the transaction, and the selection is asked in it.
  if (running->has_savepoint) {
    TOWLINE_RETURN_IF_ERROR(connection_->Exec("ROLLBACK TO SAVEPOINT towline_ddl").status());
  }
  // Of what a gap hides nobody knows which tables it is about; a schema's are all under new names.
  const bool is_known = running->drop_gap.empty() &&
                        !HasAction(running->command, "RENAME SCHEMA") &&
                        (!running->command.objects.empty() || !running->dropped.empty());
  TOWLINE_ASSIGN_OR_RETURN(DdlCircumstances circumstances, survey_.LookAround(Surveyed(*running)));
  // Rows that the same transaction has written to other tables since (a trigger for events of the
  // user's) would go with it.
  const bool can_go_back =
      running->has_savepoint ? !running->has_rows_of_others : !running->fate.has_value();
  // The tables that a command puts elsewhere are not those that it is said to be about.
  const DdlMove move = circumstances.moved.what;
  const bool has_strayed =
      move == DdlMove::kEnters || move == DdlMove::kApart || move == DdlMove::kUnknown;
  const bool can_park = is_known && can_go_back && !has_strayed;
  const bool parks_at_once =
      circumstances.all_parked || (!refusal.waits && parks_refused_ && MayPark());
  if (can_park && parks_at_once) return Park(running, refusal.reason);
  const bool waits = refusal.waits && can_park && MayPark() && hold_max_ > absl::ZeroDuration();
  if (waits) {
    TOWLINE_ASSIGN_OR_RETURN(const absl::Duration held_for,
                             history_.ReadHeldFor(running->place, refusal.reason));
    if (held_for >= hold_max_) {
      return Park(running, absl::StrCat(refusal.reason, ", and nobody has decided about it within ",
                                        towline::FormatDuration(hold_max_)));
    }
  }
  return Hold(*running, refusal.reason, waits);
}

absl::Status DdlRunner::RefuseRewrite(const absl::Status& why) {
  for (auto& [number, running] : running_) {
    if (running.rewritten.empty() || running.fate != Fate::kApplied) continue;
    return HoldOrPark(&running, Refusal{std::string(why.message())});
  }
  return why;
}

absl::Status DdlRunner::Park(Running* running, const std::string& reason) {
  if (running->has_savepoint) TOWLINE_RETURN_IF_ERROR(writer_->Renew());
  running->fate = Fate::kParked;
  running->reason = reason;
  LogWarning(
      "a schema change of the source is not carried, and the rest goes on without its tables",
      {{"command", Label(running->command, running->dropped)}, {"reason", reason}});
  return absl::OkStatus();
}

// With what stands below it at the destination: it has the same columns.
absl::Status DdlRunner::ParkTable(const DdlCommand& command, const FailedTable& table,
                                  bool with_below) {
  TOWLINE_ASSIGN_OR_RETURN(bool is_selected, survey_.IsSelectedBehind(command, table.name));
  if (is_selected) TOWLINE_RETURN_IF_ERROR(parked_.Add(table));
  if (!with_below) return absl::OkStatus();
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<TableName> below, selection_.TablesBelow(table.name));
  for (const TableName& name : below) {
    TOWLINE_ASSIGN_OR_RETURN(is_selected, selection_.IsSelected(name));
    if (!is_selected || parked_.Contains(name)) continue;
    TOWLINE_RETURN_IF_ERROR(parked_.Add({name, writer_->SourceOidOf(name)}));
  }
  return absl::OkStatus();
}

absl::Status DdlRunner::Finish(uint64_t number) {
  Running& running = running_.at(number);
  const DdlCommand& command = running.command;
  const Fate fate = *running.fate;
  if (running.has_savepoint) {
    TOWLINE_RETURN_IF_ERROR(connection_->Exec("RELEASE SAVEPOINT towline_ddl").status());
  }
  DdlCommand recorded = command;
  recorded.objects.insert(recorded.objects.end(), running.dropped.begin(), running.dropped.end());
  TOWLINE_RETURN_IF_ERROR(history_.Record(running.place, recorded, NameOf(KindOf(command)),
                                          NameOfFate(fate), running.reason, running.decision));
  TOWLINE_RETURN_IF_ERROR(NoteMoved(running));
  if (fate != Fate::kIgnored) TOWLINE_RETURN_IF_ERROR(NoteTables(running));
  LogInfo("a schema change of the source", {{"command", Label(command, running.dropped)},
                                            {"fate", NameOfFate(fate)},
                                            {"end_lsn", running.place.end_lsn.ToString()}});
  running_.erase(number);
  return absl::OkStatus();
}

// Which table of the source stands behind a name, and which are parked.
absl::Status DdlRunner::NoteTables(const Running& running) {
  const DdlCommand& command = running.command;
  for (const DdlObject& object : running.dropped) {
    if (object.type != "table") continue;
    TOWLINE_RETURN_IF_ERROR(writer_->ForgetTable(object.table));
    parked_.Remove(object.table);
  }
  for (const DdlObject& object : command.objects) {
    if (object.type != "table") continue;
    if (command.tag == "ALTER TABLE") {
      TOWLINE_RETURN_IF_ERROR(writer_->RenameTable(object.oid, object.table));
      TOWLINE_RETURN_IF_ERROR(parked_.Rename(object.oid, object.table));
    } else {
      writer_->ExpectTable(object.oid);
    }
  }
  if (running.fate != Fate::kParked) return absl::OkStatus();
  for (const FailedTable& table : TablesToPark(command, running.dropped)) {
    TOWLINE_RETURN_IF_ERROR(ParkTable(command, table, /*with_below=*/command.tag == "ALTER TABLE"));
  }
  // ALTER TYPE names none of those that it rewrites.
  for (const auto& [oid, name] : running.rewritten) {
    if (name.name.empty() || parked_.NameOf(oid).has_value()) continue;
    TOWLINE_RETURN_IF_ERROR(ParkTable(command, {name, oid}, /*with_below=*/false));
  }
  return absl::OkStatus();
}

// The source does not send what is not selected any more, whatever has become of the command here,
// and sends what is: without the rows of before, so it waits for a copy.
absl::Status DdlRunner::NoteMoved(const Running& running) {
  const DdlMoved& moved = running.moved;
  if (moved.what == DdlMove::kEnters) {
    return parked_.Add({moved.behind, moved.source_oid});
  }
  const bool leaves = moved.what == DdlMove::kLeaves ||
                      (moved.what == DdlMove::kApart && !moved.is_selected_behind);
  return leaves ? ForgetLeft(moved) : absl::OkStatus();
}

// It stays here as it is, with those below it that nothing else selects: under its new name if the
// command was run, by whomever.
absl::Status DdlRunner::ForgetLeft(const DdlMoved& moved) {
  std::set<TableName> left = {moved.before};
  for (const TableName& name : {moved.before, moved.behind}) {
    TOWLINE_ASSIGN_OR_RETURN(const std::vector<TableName> below, selection_.TablesBelow(name));
    for (const TableName& table : below) {
      TOWLINE_ASSIGN_OR_RETURN(const bool is_selected, selection_.AreSelected({table}));
      if (!is_selected) left.insert(table);
    }
  }
  for (const TableName& name : left) {
    TOWLINE_RETURN_IF_ERROR(writer_->ForgetTable(name));
    parked_.Remove(name);
    LogInfo("a table leaves the selection, and stays as it is",
            {{"table", QuoteQualified(name.schema, name.name)}});
  }
  return absl::OkStatus();
}

absl::Status DdlRunner::Hold(const Running& running, const std::string& reason, bool waits) {
  const DdlCommand& command = running.command;
  absl::Status recorded = connection_->Exec("ROLLBACK; BEGIN").status();
  absl::StatusOr<int64_t> number = int64_t{0};
  if (recorded.ok()) {
    DdlCommand held = command;
    held.objects.insert(held.objects.end(), running.dropped.begin(), running.dropped.end());
    recorded = history_.Record(running.place, held, NameOf(KindOf(command)), "held", reason,
                               running.decision);
  }
  if (recorded.ok()) number = history_.ReadNumber(running.place);
  if (recorded.ok()) recorded = number.ok() ? absl::OkStatus() : number.status();
  if (recorded.ok()) recorded = connection_->Exec("COMMIT").status();
  if (!recorded.ok()) {
    LogWarning("cannot write the held command into towline_state.ddl_history",
               {{"stage", "apply"}, {"reason", std::string(recorded.message())}});
  }
  const std::string words =
      absl::StrCat(recorded.ok() ? *number : 0, " --destination URI --task ", claim_.task);
  absl::Status status = WithHint(
      absl::UnimplementedError(absl::StrCat("a schema change of the source is held: ",
                                            Label(command, running.dropped), ": ", reason)),
      absl::StrCat("Mend what is in its way and run again. Or make the change at the destination "
                   "by hand, or decide to go without it, then: towline ddl skip ",
                   words, " (towline ddl approve runs it as it is; towline ddl list shows it)."));
  if (waits && recorded.ok()) status.SetPayload(kWaitedForUrl, absl::Cord(absl::StrCat(*number)));
  return status;
}

SurveyedCommand DdlRunner::Surveyed(const Running& running) {
  return {running.command, running.dropped, !running.drop_gap.empty(), running.rewritten};
}

bool DdlRunner::IsLeftOut(const Relation& relation) const {
  if (parked_.Holds(relation)) return true;
  return std::any_of(running_.begin(), running_.end(), [&](const auto& entry) {
    const Running& running = entry.second;
    if (running.unmade.contains(relation.name)) return true;
    return relation.rewrite_of != 0 && running.fate != Fate::kApplied &&
           running.rewritten.contains(relation.rewrite_of);
  });
}

// Rows of a rewrite, and of a table that the command makes, are its own.
void DdlRunner::NoteRowsOfOthers(const Relation& relation) {
  if (relation.rewrite_of != 0) return;
  for (auto& [number, running] : running_) {
    const std::vector<DdlObject>& objects = running.command.objects;
    const bool is_its_own =
        std::any_of(objects.begin(), objects.end(),
                    [&](const DdlObject& object) { return object.table == relation.name; });
    running.has_rows_of_others |= running.has_savepoint && !is_its_own;
  }
}

absl::StatusOr<std::optional<Batch>> DdlRunner::WithoutLeftOut(const Batch& batch) {
  const Relation* last = nullptr;
  for (const Change& change : batch.changes) {
    if (change.relation == last) continue;
    last = change.relation;
    NoteRowsOfOthers(*last);
    const Oid table = last->rewrite_of;
    const bool is_announced =
        table == 0 || std::any_of(running_.begin(), running_.end(), [&](const auto& entry) {
          return entry.second.rewritten.contains(table);
        });
    if (is_announced) continue;
    return WithHint(
        absl::DataLossError(
            absl::StrCat("table ", last->name.schema, ".", last->name.name,
                         " was rewritten at the source by a command that was not captured")),
        "Drop the task (towline drop) and copy anew; SELECT towline.enable_ddl() at the source "
        "must come before.");
  }
  if (parked_.empty() && running_.empty()) return std::optional<Batch>();
  return WithoutRelations(batch, [this](const Relation& relation) { return IsLeftOut(relation); });
}

}  // namespace towline
