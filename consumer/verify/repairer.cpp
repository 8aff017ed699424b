#include "verify/repairer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "schema/table_rules.h"
#include "state/origin.h"
#include "state/other_writer.h"
#include "state/position.h"
#include "state/prepared.h"
#include "state/replica_role.h"
#include "state/task_name.h"

namespace towline {
namespace {

constexpr size_t kKeysPerTransaction = 500;
constexpr size_t kScannedKeysPerTransaction = 5000;  // each read is one of the whole table
constexpr int64_t kBytesPerTransaction = 16 << 20;
constexpr size_t kClashingKeysMax = 10'000;
// How long the task may be kept waiting for transactions of the source; more are rare.
constexpr absl::Duration kHeldSettleMax = absl::Seconds(1);
constexpr absl::Duration kSettlePauseMin = absl::Milliseconds(1);
constexpr absl::Duration kSettlePauseMax = absl::Milliseconds(50);
constexpr size_t kRecordedTextMax = 8192;
constexpr char kNotSettled[] = "57014";  // as if the statement had been cancelled

absl::StatusOr<Connection> OpenRepairSession(const Repairer::Options& options,
                                             const Shutdown& shutdown) {
  Connection::Purpose purpose;
  purpose.application_name = options.claim.has_value()
                                 ? DestinationApplication(options.claim->task, "heal")
                                 : "towline verify repair";
  purpose.settings = {kRuleSearchPathSql, "SET lock_timeout = '5s'"};
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           Connection::Open(options.destination, purpose, shutdown));
  if (options.file != nullptr) return session;
  TOWLINE_RETURN_IF_ERROR(TakeReplicaRole(session));
  const std::string& task = options.claim.has_value() ? options.claim->task : options.task;
  if (!task.empty()) {
    TOWLINE_RETURN_IF_ERROR(TakeOrigin(session, task, options.origin_number, false));
  }
  return session;
}

std::vector<std::string> IdsOf(const SuspectKeys& keys) {
  std::vector<std::string> ids;
  for (const auto& [id, key] : keys) ids.push_back(id);
  return ids;
}

std::vector<SideQuery::KeyValues> ValuesOf(const SuspectKeys& keys) {
  std::vector<SideQuery::KeyValues> values;
  for (const auto& [id, key] : keys) values.push_back(key.values);
  return values;
}

// Of what a key must be the same for, to be mended.
std::vector<std::pair<std::string, std::string>> VersionsOf(const std::vector<ReadRow>& rows) {
  std::vector<std::pair<std::string, std::string>> versions;
  for (const ReadRow& row : rows) versions.emplace_back(row.xmin, row.ctid);
  std::sort(versions.begin(), versions.end());
  return versions;
}

std::vector<const ReadRow*> Borrow(const std::vector<ReadRow>& rows) {
  std::vector<const ReadRow*> borrowed;
  for (const ReadRow& row : rows) borrowed.push_back(&row);
  return borrowed;
}

// For a key that is looked at again: nothing that was read before counts.
void PutBack(const std::string& id, const SuspectKey& key, SuspectKeys* again) {
  SuspectKey fresh;
  fresh.values = key.values;
  again->emplace(id, std::move(fresh));
}

bool IsClash(const absl::Status& status) {
  const std::string state = GetSqlState(status);
  return state == "23505" || state == "23P01";
}

// Of somebody else's transaction: a lock, a deadlock, a source that does not settle.
bool IsPassing(const absl::Status& status) {
  const std::string state = GetSqlState(status);
  return state == "55P03" || state == "40001" || state == "40P01" || state == kNotSettled;
}

// One row of a group may be the cause, and the others can do without it.
bool IsOfSomeRow(const absl::Status& status) {
  const std::string type = GetSqlState(status).substr(0, 2);
  return absl::IsResourceExhausted(status) || type == "22" || type == "23" || type == "54";
}

absl::Status RollBack(Connection& session) {
  return session.is_alive() ? session.Exec("ROLLBACK").status() : absl::OkStatus();
}

ReadRow::Value ValueOf(const Result& rows, int row, int column) {
  if (rows.IsNull(row, column)) return std::nullopt;
  return rows.GetString(row, column);
}

using RowsByKey = std::map<std::string, std::vector<ReadRow>>;

// A statement by key may find others' rows (side_query.h).
absl::StatusOr<RowsByKey> ReadVersions(Connection& session, const SideQuery& side,
                                       const SuspectKeys& keys, int64_t* bytes) {
  TOWLINE_ASSIGN_OR_RETURN(Result rows,
                           session.Exec(side.VersionsSql(IdsOf(keys), ValuesOf(keys))));
  RowsByKey read;
  for (int row = 0; row < rows.row_count(); ++row) {
    std::string id = rows.GetString(row, 0);
    if (!keys.contains(id)) continue;
    *bytes += rows.GetInt(row, 3);
    read[id].push_back({id, rows.GetString(row, 1), rows.GetString(row, 2), {}, {}});
  }
  return read;
}

absl::StatusOr<RowsByKey> ReadRows(Connection& session, const SideQuery& side,
                                   const SuspectKeys& keys, const std::vector<std::string>& others,
                                   const std::string& lock) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result rows,
      session.Exec(absl::StrCat(side.RowsSql(IdsOf(keys), ValuesOf(keys), others), lock)));
  RowsByKey read;
  const int others_at = 3 + static_cast<int>(side.values.size());
  for (int row = 0; row < rows.row_count(); ++row) {
    std::string id = rows.GetString(row, 0);
    if (!keys.contains(id)) continue;
    ReadRow one{id, rows.GetString(row, 1), rows.GetString(row, 2), {}, {}};
    for (int column = 3; column < PQnfields(rows.raw()); ++column) {
      (column < others_at ? one.values : one.others).push_back(ValueOf(rows, row, column));
    }
    read[id].push_back(std::move(one));
  }
  return read;
}

absl::Status WrittenMeanwhile() {
  return WithSqlState(absl::AbortedError("rows were written meanwhile"), "40001");
}

std::string RowText(const ReadRow& row) {
  std::string text;
  for (const ReadRow::Value& value : row.values) {
    if (text.size() > kRecordedTextMax) break;
    absl::StrAppend(&text, text.empty() ? "" : ", ",
                    value.has_value() ? QuoteLiteral(*value) : "NULL");
  }
  if (text.size() <= kRecordedTextMax) return text;
  size_t end = kRecordedTextMax;  // not within a character
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "...");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Repairer>> Repairer::Open(Options options,
                                                         const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(Connection session, OpenRepairSession(options, shutdown));
  return std::unique_ptr<Repairer>(new Repairer(std::move(options), std::move(session), shutdown));
}

absl::StatusOr<SuspectKeys> Repairer::Repair(PairReader& reader, const ComparedTable& table,
                                             SuspectKeys keys, TableReport* report) {
  const bool is_by_index = !table.source.key.empty() && table.source.is_key_searchable;
  const size_t step = is_by_index ? kKeysPerTransaction : kScannedKeysPerTransaction;
  std::vector<Group> groups;
  while (!keys.empty()) {
    if (groups.empty() || groups.back().keys.size() == step) groups.emplace_back();
    groups.back().keys.insert(keys.extract(keys.begin()));
  }
  SuspectKeys again;
  TOWLINE_RETURN_IF_ERROR(Work(std::move(groups), reader, table, report, &again));
  return again;
}

absl::StatusOr<SuspectKeys> Repairer::FinishTable(PairReader& reader, const ComparedTable& table,
                                                  TableReport* report) {
  SuspectKeys again;
  if (clashing_.empty()) return again;
  std::vector<Group> groups;
  groups.push_back({std::exchange(clashing_, {}), true});
  TOWLINE_RETURN_IF_ERROR(Work(std::move(groups), reader, table, report, &again));
  return again;
}

absl::Status Repairer::Work(std::vector<Group> groups, PairReader& reader,
                            const ComparedTable& table, TableReport* report, SuspectKeys* again) {
  std::reverse(groups.begin(), groups.end());
  while (!groups.empty()) {
    Group group = std::move(groups.back());
    groups.pop_back();
    absl::Status mended = Mend(group, reader, table, report, again);
    TOWLINE_RETURN_IF_ERROR(RollBack(session_));
    if (mended.ok()) continue;
    if (absl::IsUnavailable(mended) || absl::IsCancelled(mended)) return mended;
    TOWLINE_RETURN_IF_ERROR(Divide(std::move(group), mended, report, &groups, again));
  }
  return absl::OkStatus();
}

absl::Status Repairer::Divide(Group group, const absl::Status& failure, TableReport* report,
                              std::vector<Group>* groups, SuspectKeys* again) {
  if (IsPassing(failure) && held_note_.empty()) {
    for (const auto& [id, key] : group.keys) PutBack(id, key, again);
    return absl::OkStatus();
  }
  if (IsClash(failure) && !group.replaces_rows &&
      clashing_.size() + group.keys.size() <= kClashingKeysMax) {
    clashing_.merge(group.keys);
    return absl::OkStatus();
  }
  if (group.keys.size() > 1 && IsOfSomeRow(failure) && held_note_.empty()) {
    Group half{{}, group.replaces_rows};
    while (half.keys.size() < group.keys.size()) {
      half.keys.insert(group.keys.extract(group.keys.begin()));
    }
    groups->push_back(std::move(group));
    groups->push_back(std::move(half));
    return absl::OkStatus();
  }
  is_clash_left_ |= IsClash(failure);
  const std::string reason = held_note_.empty() ? Describe(failure) : held_note_;
  for (const auto& [id, key] : group.keys) {
    AddDifference({id, key.source.rows, key.destination.rows, {}, false}, report);
  }
  report->repair_note = reason;
  return absl::OkStatus();
}

absl::Status Repairer::Mend(const Group& group, PairReader& reader, const ComparedTable& table,
                            TableReport* report, SuspectKeys* again) {
  int64_t bytes = 0;
  TOWLINE_ASSIGN_OR_RETURN(Rows before,
                           ReadVersions(session_, table.destination, group.keys, &bytes));
  TOWLINE_ASSIGN_OR_RETURN(Lsn insert_lsn, BeginSettled(reader, options_.wait_max));
  absl::StatusOr<Rows> source_rows = ReadSource(reader.source(), table, group, bytes);
  TOWLINE_RETURN_IF_ERROR(reader.EndSource());
  TOWLINE_RETURN_IF_ERROR(source_rows.status());
  TOWLINE_ASSIGN_OR_RETURN(bool has_passed, reader.WaitPassed(insert_lsn));
  if (!has_passed) {
    held_note_ = reader.stand_note();
    return absl::AbortedError(held_note_);
  }
  TOWLINE_RETURN_IF_ERROR(session_.Exec("BEGIN").status());
  SuspectKeys written;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<DifferingRow> mended,
                           MendHeld(group, before, *source_rows, reader, table, &written));
  if (options_.file == nullptr) {
    TOWLINE_ASSIGN_OR_RETURN(Result committed, session_.Exec("COMMIT"));
    absl::string_view tag = PQcmdStatus(committed.raw());
    if (tag != "COMMIT") {
      return absl::InternalError(absl::StrCat("COMMIT was answered with ", tag));
    }
    if (options_.claim.has_value()) FaultPoint("heal:in-table");
  }
  for (DifferingRow& row : mended) AddDifference(std::move(row), report);
  again->merge(written);
  return absl::OkStatus();
}

absl::StatusOr<Repairer::Rows> Repairer::ReadSource(Connection& source, const ComparedTable& table,
                                                    const Group& group, int64_t destination_bytes) {
  int64_t bytes = destination_bytes;
  TOWLINE_RETURN_IF_ERROR(ReadVersions(source, table.source, group.keys, &bytes).status());
  if (bytes > kBytesPerTransaction && group.keys.size() > 1) {
    return absl::ResourceExhaustedError("the rows are too large to be repaired together");
  }
  return ReadRows(source, table.source, group.keys, {}, "");
}

absl::StatusOr<std::vector<DifferingRow>> Repairer::MendHeld(const Group& group, const Rows& before,
                                                             const Rows& source_rows,
                                                             PairReader& reader,
                                                             const ComparedTable& table,
                                                             SuspectKeys* again) {
  const bool is_file = options_.file != nullptr;
  if (!is_file) TOWLINE_RETURN_IF_ERROR(HoldTask(reader, table));
  Rows read_after;
  if (!reader.is_held()) {
    TOWLINE_RETURN_IF_ERROR(BeginSettled(reader, kHeldSettleMax).status());
    int64_t bytes = 0;
    absl::StatusOr<Rows> read = ReadVersions(reader.source(), table.source, group.keys, &bytes);
    TOWLINE_RETURN_IF_ERROR(reader.EndSource());
    TOWLINE_ASSIGN_OR_RETURN(read_after, std::move(read));
  }
  const Rows& source_after = reader.is_held() ? source_rows : read_after;
  TOWLINE_ASSIGN_OR_RETURN(Rows rows, ReadRows(session_, table.destination, group.keys,
                                               table.other_columns, is_file ? "" : " FOR UPDATE"));
  std::vector<RowRepair> repairs;
  std::vector<DifferingRow> mended;
  std::vector<VerifiedRow> recorded;
  static const std::vector<ReadRow> kNone;
  auto of = [](const Rows& all, const std::string& id) -> const std::vector<ReadRow>& {
    auto found = all.find(id);
    return found == all.end() ? kNone : found->second;
  };
  for (const auto& [id, key] : group.keys) {
    const std::vector<ReadRow>& wanted = of(source_rows, id);
    const std::vector<ReadRow>& present = of(rows, id);
    if (VersionsOf(wanted) != VersionsOf(of(source_after, id)) ||
        VersionsOf(present) != VersionsOf(of(before, id))) {
      PutBack(id, key, again);
      continue;
    }
    std::vector<RowRepair> of_key = PlanRepair(Borrow(wanted), Borrow(present));
    if (of_key.empty()) continue;
    DifferingRow row{
        id, static_cast<int64_t>(wanted.size()), static_cast<int64_t>(present.size()), {}, true};
    if (of_key.size() == 1) {
      for (size_t column : of_key[0].columns) row.columns.push_back(table.columns[column]);
    }
    VerifiedRow record{KindOf(row), id, row.columns, true, {}};
    for (const RowRepair& repair : of_key) {
      if (repair.destination == nullptr) continue;
      record.replaced = RowText(*repair.destination);
      break;
    }
    recorded.push_back(std::move(record));
    mended.push_back(std::move(row));
    repairs.insert(repairs.end(), of_key.begin(), of_key.end());
  }
  if (repairs.empty()) return mended;
  TOWLINE_RETURN_IF_ERROR(Write(table, repairs, group.replaces_rows));
  if (options_.record != nullptr && !is_file) {
    TOWLINE_RETURN_IF_ERROR(options_.record->AddRows(session_, table.name, recorded));
  }
  return mended;
}

absl::Status Repairer::HoldTask(PairReader& reader, const ComparedTable& table) {
  if (reader.is_held()) return CheckEpoch(session_, *options_.claim);
  if (options_.task.empty()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(LockOutPrepares(session_, options_.task));
  TOWLINE_RETURN_IF_ERROR(HoldPosition(session_, options_.task));
  // Held to the end: a table that is to be copied again is emptied after this repair or before.
  TOWLINE_ASSIGN_OR_RETURN(
      Result piece,
      session_.Query("SELECT p.state IN ('copied', 'streamed'), p.existing = 'append', p.rule "
                     "FROM towline_state.piece p WHERE p.task = $1 AND p.schema_name = $2 "
                     "AND p.table_name = $3 FOR SHARE OF p",
                     std::vector<Param>{options_.task, table.name.schema, table.name.name}));
  if (piece.row_count() == 0) return absl::OkStatus();
  if (!piece.GetBool(0, 0)) {
    return absl::FailedPreconditionError("the table is being copied again");
  }
  // Rows that the source lacks may belong there.
  if (piece.GetBool(0, 1)) {
    return absl::FailedPreconditionError(
        "the table keeps rows of its own (existing: append): --repair-sql writes the statements "
        "to be looked through");
  }
  TOWLINE_ASSIGN_OR_RETURN(const std::string other,
                           FindOtherWriter(session_, options_.task, table.name, piece.Get(0, 2)));
  if (!other.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "task ", other,
        " writes the table as well: --repair-sql writes the statements to be looked through"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Lsn> Repairer::BeginSettled(PairReader& reader, absl::Duration wait_max) {
  TOWLINE_ASSIGN_OR_RETURN(const uint64_t running, reader.MarkRunning());
  const absl::Time deadline = SteadyNow() + wait_max;
  for (absl::Duration pause = kSettlePauseMin;; pause = std::min(pause * 2, kSettlePauseMax)) {
    TOWLINE_ASSIGN_OR_RETURN(PairReader::Snapshot snapshot, reader.BeginSource());
    if (running == 0 || snapshot.oldest_running > running) return snapshot.insert_lsn;
    TOWLINE_RETURN_IF_ERROR(reader.EndSource());
    if (SteadyNow() >= deadline) {
      // For a short wait it is only put off.
      std::string note =
          "a transaction of the source has been running since before: what differs "
          "can be repaired when it has ended";
      if (wait_max == options_.wait_max) held_note_ = note;
      return WithSqlState(absl::AbortedError(note), kNotSettled);
    }
    if (!shutdown_->SleepFor(pause)) return absl::CancelledError("shutting down");
  }
}

absl::Status Repairer::Write(const ComparedTable& table, const std::vector<RowRepair>& rows,
                             bool replaces_rows) {
  const bool is_file = options_.file != nullptr;
  std::vector<RowRepair> written = rows;
  if (only_deletes_) {
    for (RowRepair& row : written) row.source = nullptr;
    std::erase_if(written, [](const RowRepair& row) { return row.destination == nullptr; });
  }
  std::vector<RepairStatement> statements =
      RepairStatements(table, written, {replaces_rows || is_file, is_file});
  if (is_file) return options_.file->Add(table.name, statements);
  for (const RepairStatement& statement : statements) {
    TOWLINE_ASSIGN_OR_RETURN(Result done, session_.Exec(statement.sql));
    if (done.affected_rows() != statement.rows) return WrittenMeanwhile();
  }
  return absl::OkStatus();
}

}  // namespace towline
