// The part of an attempt that takes tables out of the stream and back into it, as it is asked
// (state/table_request.h). What comes back needs a time of its own, while no copy stands between;
// what leaves waits for the first copy only.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "run/attempt.h"
#include "run/start_checks.h"
#include "schema/catalog_reader.h"
#include "snapshot/constraints.h"
#include "state/joining_piece.h"
#include "state/parked_piece.h"
#include "state/task_row.h"

namespace towline {
namespace {

constexpr size_t kTablesNamedMax = 5;

std::string Quoted(const TableName& table) { return QuoteQualified(table.schema, table.name); }

const PieceRow* FindPiece(const std::vector<PieceRow>& pieces, const TableName& table) {
  auto found = std::find_if(pieces.begin(), pieces.end(),
                            [&table](const PieceRow& piece) { return piece.table == table; });
  return found == pieces.end() ? nullptr : &*found;
}

std::string NumbersOf(const std::vector<TableRequest>& requests) {
  std::string text;
  for (const TableRequest& request : requests) absl::StrAppend(&text, request.number, " ");
  return text;
}

bool IsToBeParked(const PieceRow& piece) {
  return piece.has_left && (piece.state == "copied" || piece.state == "streamed");
}

absl::Status RefuseToLeave(const std::vector<FailedTable>& tables) {
  std::vector<std::string> names;
  for (const FailedTable& table : tables) {
    if (names.size() < kTablesNamedMax) names.push_back(Quoted(table.name));
  }
  const size_t more = tables.size() - names.size();
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat(
          "include and exclude do not select tables of the copy any more, and the stream has not "
          "passed the copy yet: ",
          absl::StrJoin(names, ", "), more > 0 ? absl::StrCat(" and ", more, " more") : "")),
      "Put the selection back until the stream has passed the copy (status shows streaming); after "
      "that a table that is left out is parked.");
}

void EraseRewritten(const TableName& table, std::vector<TableNote>* notes) {
  std::erase_if(*notes, [&](const TableNote& note) {
    return note.name == table && note.state == kRewrittenNote;
  });
}

}  // namespace

// With what decides which tables may leave and come.
absl::Status Attempt::ReadTask() {
  TOWLINE_ASSIGN_OR_RETURN(row_, store_->ReadTask());
  TOWLINE_ASSIGN_OR_RETURN(has_constraints_left_, HasConstraintsLeft(*store_));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SnapshotRow> snapshots, store_->ReadSnapshots());
  has_first_snapshots_ = !snapshots.empty();
  return absl::OkStatus();
}

// Not before the stream has passed the first copy and its constraints are made: until then the
// others' rows and keys wait for every table. The snapshot of one that was copied by itself decides
// about its own changes and no others: that one may leave as well, and what its rows held is
// forgotten.
bool Attempt::MayTablesLeave() const {
  return !has_constraints_left_ && !(row_.lsn_after.is_valid() && has_first_snapshots_);
}

// One after the other: what is copied by itself begins with no snapshot beside it.
bool Attempt::MayTablesCome() const { return !has_constraints_left_ && !row_.lsn_after.is_valid(); }

// A table that was removed is as good as excluded, one that was added as good as included.
absl::Status Attempt::SelectTables() {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  Config& config = context_.config;
  config.include = context_.include;
  config.exclude = context_.exclude;
  for (const PieceRow& piece : pieces) {
    if (piece.state == "removed") {
      config.exclude.push_back(Quoted(piece.table));
    } else if (piece.is_added && !config.include.empty()) {
      config.include.push_back(Quoted(piece.table));
    }
  }
  return absl::OkStatus();
}

// A table that the stream passes over is no exact copy any more. That is kept for the time when the
// selection takes it again; until the others' keys are made it cannot leave. A selection that this
// process has begun with and that does not take it is refused then. One that the source has moved
// meanwhile is noted, and parked when it may leave, whatever the selection takes by then. Before
// anything streams, and when tables were taken up (SelectTables()).
absl::Status Attempt::ParkUnselected() {
  TOWLINE_ASSIGN_OR_RETURN(Connection * source, Source());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<ListedTable> tables,
                           ListTables(*source, SelectionOf(context_.config)));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  std::vector<FailedTable> left = UnselectedPieces(pieces, tables, context_.config.ddl.is_on);
  has_left_ = false;
  if (!MayTablesLeave()) {
    std::set<TableName> names;
    for (const ListedTable& table : tables) names.insert(table.name);
    std::vector<FailedTable> refused;
    for (const FailedTable& table : left) {
      const bool is_moved = context_.has_selected || !names.contains(table.name);
      if (!is_moved) refused.push_back(table);
    }
    if (!refused.empty()) return RefuseToLeave(refused);
    for (const FailedTable& table : left) TOWLINE_RETURN_IF_ERROR(NoteLeft(table.name));
    has_left_ = !left.empty() || std::any_of(pieces.begin(), pieces.end(), IsToBeParked);
    context_.has_selected = true;
    return absl::OkStatus();
  }
  context_.has_selected = true;
  for (const PieceRow& piece : pieces) {
    const bool is_known = std::any_of(left.begin(), left.end(), [&](const FailedTable& table) {
      return table.name == piece.table;
    });
    if (IsToBeParked(piece) && !is_known) left.push_back({piece.table, piece.source_oid});
  }
  for (const FailedTable& table : left) {
    TOWLINE_RETURN_IF_ERROR(store_->ParkTable(
        table, /*rule=*/"",
        "include and exclude did not select it any more: what is written to it at the source "
        "does not come"));
    LogWarning("a table is parked, because include and exclude did not select it any more",
               {{"table", Quoted(table.name)}, {"position", row_.position.ToString()}});
  }
  return absl::OkStatus();
}

absl::Status Attempt::NoteLeft(const TableName& table) {
  LogWarning(
      "a table is not selected any more, since the source has moved it: it is parked when the "
      "stream has passed the copy",
      {{"table", Quoted(table)}});
  return store_->NoteLeft(table);
}

void Attempt::ShowParked(const std::vector<TableName>& parked) {
  context_.board.Update([&](TaskStatus& status) {
    const auto shown = static_cast<int64_t>(std::min(parked.size(), kTablesShownMax));
    status.parked.assign(parked.begin(), parked.begin() + shown);
    status.parked_total = static_cast<int64_t>(parked.size());
  });
}

// Whether its rows have other values now nobody can tell but a comparison, and a change that both
// sides were given alike must not stop the task.
void Attempt::ShowRewritten(const TableName& table) {
  LogWarning(
      "a table was rewritten at the source by ALTER TABLE while ddl is off: its rows may have "
      "other values now, which do not come",
      {{"table", Quoted(table)},
       {"mend", "compare it (towline verify); if it differs: towline table recopy"}});
  context_.board.Update([&](TaskStatus& status) {
    std::vector<TableNote>& notes = status.table_notes;
    EraseRewritten(table, &notes);
    if (notes.size() < kTablesShownMax) notes.push_back({table, kRewrittenNote, ""});
  });
}

// It is copied anew, or not streamed any more.
void Attempt::ForgetRewritten(const TableName& table) {
  context_.board.Update([&](TaskStatus& status) { EraseRewritten(table, &status.table_notes); });
}

absl::Status Attempt::ShowTables(const std::vector<PieceRow>& pieces) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TableRequest> requests,
                           ReadTableRequests(store_->connection(), context_.task));
  std::vector<TableName> parked;
  for (const PieceRow& piece : pieces) {
    if (piece.state == "parked") parked.push_back(piece.table);
  }
  ShowParked(parked);
  shown_requests_ = NumbersOf(requests);
  context_.board.Update([&](TaskStatus& status) {
    std::vector<TableNote> notes = NotesOf(pieces, requests);
    // What is not in the task's state.
    for (const TableNote& note : status.table_notes) {
      if (note.state == kRewrittenNote && notes.size() < kTablesShownMax) notes.push_back(note);
    }
    status.table_notes = std::move(notes);
  });
  return absl::OkStatus();
}

// Names as patterns of the tables that are not to be streamed, and what people see of them.
absl::StatusOr<std::vector<std::string>> Attempt::ParkedPatterns() {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  TOWLINE_RETURN_IF_ERROR(ShowTables(pieces));
  std::vector<std::string> patterns;
  size_t parked = 0;
  has_joining_left_ = false;
  for (const PieceRow& piece : pieces) {
    if (!piece.is_out_of_stream() || (is_joining_ && piece.state == "joining")) continue;
    patterns.push_back(Quoted(piece.table));
    parked += piece.state == "parked" ? 1 : 0;
    has_joining_left_ |= piece.state == "joining";
  }
  if (parked > 0) {
    LogWarning("tables are parked: they are not streamed, and differ from the source's",
               {{"tables", absl::StrCat(parked)}});
  }
  return patterns;
}

// Looked for now and then, while nothing else needs the stream closed.
absl::StatusOr<bool> Attempt::AreTablesDue() {
  if (SteadyNow() - tables_looked_at_ < kTablesLookInterval) return false;
  tables_looked_at_ = SteadyNow();
  const bool may_come = MayTablesCome();
  if (may_come && has_joining_left_ && seen_position_ >= join_after_) return true;
  if (has_left_ && MayTablesLeave()) return true;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TableRequest> requests,
                           ReadTableRequests(store_->connection(), context_.task));
  const bool may_leave = MayTablesLeave();
  const bool is_due =
      std::any_of(requests.begin(), requests.end(), [&](const TableRequest& request) {
        return request.refusal.empty() && (may_come || (may_leave && request.is_to_leave()));
      });
  if (is_due) return true;
  if (NumbersOf(requests) == shown_requests_) return false;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
  TOWLINE_RETURN_IF_ERROR(ShowTables(pieces));
  return false;
}

// The stream stands still.
absl::Status Attempt::ChangeTables() {
  TOWLINE_RETURN_IF_ERROR(SettleJoined(store_->connection(), store_->claim()));
  TOWLINE_RETURN_IF_ERROR(ReadTask());
  const bool may_come = MayTablesCome();
  if (MayTablesLeave()) TOWLINE_RETURN_IF_ERROR(TakeUpRequests());
  TOWLINE_RETURN_IF_ERROR(ParkUnselected());
  if (!may_come) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(JoinTables());
  return SettleJoined(store_->connection(), store_->claim());
}

absl::Status Attempt::TakeUpRequests() {
  const bool may_come = MayTablesCome();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TableRequest> requests,
                           ReadTableRequests(store_->connection(), context_.task));
  for (const TableRequest& request : requests) {
    if (!request.refusal.empty() || (!may_come && !request.is_to_leave())) continue;
    TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_->ReadPieces());
    TOWLINE_RETURN_IF_ERROR(TakeUp(request, pieces));
    has_progressed_ = true;
  }
  return SelectTables();
}

absl::Status Attempt::TakeUp(const TableRequest& request, const std::vector<PieceRow>& pieces) {
  const PieceRow* piece = FindPiece(pieces, request.table);
  absl::Status refusal = CheckTableRequest(request.table, request.action, piece);
  if (refusal.ok()) {
    if (request.is_to_leave()) {
      TOWLINE_RETURN_IF_ERROR(EmptyBegun(request.table));
      return Leave(request, request.action == "park" ? "parked" : "removed");
    }
    const bool is_added = request.action == "add";
    absl::StatusOr<JoinPlan> plan = CheckJoin(
        request, piece == nullptr || is_added ? JoinedTable{request.table} : JoinedTableOf(*piece));
    refusal = plan.ok() ? Come(request, *plan) : plan.status();
    if (refusal.ok() || !IsTableFault(refusal)) return refusal;
  }
  LogWarning("what is asked of a table cannot be done", {{"table", Quoted(request.table)},
                                                         {"asked", request.action},
                                                         {"because", Describe(refusal)}});
  return InTransaction(store_->connection(), [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(store_->connection(), store_->claim()));
    return RefuseTableRequest(store_->connection(), store_->claim(), request, Describe(refusal));
  });
}

// Out of the stream from here on, and copied anew next (JoinTables()).
absl::Status Attempt::Come(const TableRequest& request, const JoinPlan& plan) {
  Connection& session = store_->connection();
  absl::Status stored = InTransaction(session, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_->claim()));
    TOWLINE_ASSIGN_OR_RETURN(const bool is_empty, LockToJoin(session, request, plan));
    TOWLINE_RETURN_IF_ERROR(
        request.action == "add"
            ? AddPiece(session, store_->claim(), request.table, plan.rule, is_empty)
            : SetPieceState(session, store_->claim(), request.table, "joining", ""));
    if (context_.config.ddl.is_on) {
      TOWLINE_RETURN_IF_ERROR(
          SetSourceOid(session, store_->claim(), request.table, plan.table.oid));
    }
    return ForgetTableRequest(session, store_->claim(), request);
  });
  TOWLINE_RETURN_IF_ERROR(BlameLock(stored, plan.there));
  ForgetRewritten(request.table);
  FaultPoint("tables:joining");
  LogInfo("a table is to be copied anew, as asked",
          {{"table", Quoted(request.table)}, {"asked", request.action}});
  return absl::OkStatus();
}

absl::Status Attempt::Leave(const TableRequest& request, const std::string& state) {
  Connection& session = store_->connection();
  absl::Status stored = InTransaction(session, [&]() -> absl::Status {
    TOWLINE_RETURN_IF_ERROR(CheckEpoch(session, store_->claim()));
    TOWLINE_RETURN_IF_ERROR(SetPieceState(session, store_->claim(), request.table, state,
                                          state == "parked" ? "asked for" : ""));
    return ForgetTableRequest(session, store_->claim(), request);
  });
  TOWLINE_RETURN_IF_ERROR(stored);
  ForgetRewritten(request.table);
  FaultPoint("tables:left");
  LogInfo(state == "parked" ? "a table leaves the stream, as asked; its rows stay as they are"
                            : "a table leaves the task, as asked; its rows stay at the destination",
          {{"table", Quoted(request.table)}, {"position", row_.position.ToString()}});
  return absl::OkStatus();
}

}  // namespace towline
