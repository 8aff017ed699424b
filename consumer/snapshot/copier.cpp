#include "snapshot/copier.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/copy_again.h"
#include "snapshot/copy_finish.h"
#include "snapshot/copy_run.h"
#include "snapshot/large_objects.h"
#include "snapshot/missing_roles.h"
#include "snapshot/post_data_runner.h"
#include "snapshot/schema_runner.h"

namespace towline {

absl::Status CopyRun::Run() {
  TOWLINE_ASSIGN_OR_RETURN(TaskRow task, store_.ReadTask());
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  bool is_begun = task.phase == TaskState::kCopyingSchema || task.phase == TaskState::kCopying;
  bool is_copied = task.phase == TaskState::kCopying && !pieces.empty();
  for (const PieceRow& piece : pieces) {
    is_copied = is_copied && (piece.state == "copied" || piece.state == "streamed");
  }
  if (task.phase == TaskState::kNew || task.phase == TaskState::kChecking ||
      (is_begun && !is_copied)) {
    bool is_resumed = false;
    if (task.phase == TaskState::kCopying) {
      TOWLINE_ASSIGN_OR_RETURN(is_resumed, Resume(pieces));
    } else if (is_begun) {
      LogStartOver("the schema was not made");
    }
    if (!is_resumed) {
      if (!is_begun) TOWLINE_RETURN_IF_ERROR(CheckNoneAppended(pieces));
      // Also of a copy without a stream that was cut short: the slot that was made since has put
      // the task back to its checks.
      begun_ = std::move(pieces);
      TOWLINE_RETURN_IF_ERROR(StartOver());
    }
    TOWLINE_RETURN_IF_ERROR(CopyInRanges());
    summary_.EndStep("rows", {.rows = progress_.rows_done,
                              .bytes = progress_.bytes_total,
                              .tables = progress_.tables_total,
                              .workers = options_.workers});
    LogSlowestTables(progress_.tables);
    TOWLINE_RETURN_IF_ERROR(store_.EndRows());
  } else if (is_copied) {
    // Every piece's mark came with its rows, and the snapshot was stored before the first row.
    TOWLINE_RETURN_IF_ERROR(FinishSchema());
    TOWLINE_RETURN_IF_ERROR(store_.EndRows());
  } else if (task.phase != TaskState::kIndexing) {
    return absl::OkStatus();
  }
  return Finish();
}

absl::Status CopyRun::RunSchemaOnly() {
  TOWLINE_ASSIGN_OR_RETURN(CopyStart start, StartAtSource(options_, shutdown_, on_wait_));
  is_partial_ = start.is_partial;
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "schema", kSchemaOrigin, store_, shutdown_));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> there,
                           ReadDestination(session, start.snapshot.tables()));
  for (const Table& table : there) {
    if (table.oid != 0) existed_.insert(table.name);
  }
  TOWLINE_RETURN_IF_ERROR(LeaveOutMissingRoles(session, &start.dump));
  TOWLINE_RETURN_IF_ERROR(NoteMade());
  // Without pieces, and never in the state indexing: a start that wants rows as well begins anew.
  TOWLINE_RETURN_IF_ERROR(store_.StartCopy({},
                                           StatementsOf(start.dump, {}, {}, /*is_at_once=*/true),
                                           std::nullopt, TaskState::kCopyingSchema));
  FaultPoint("copy:schema-stored");
  for (const char* section : {"pre", kPostSection}) {
    SchemaRun run;
    run.section = section;
    run.existed = existed_;
    run.is_partial = is_partial_;
    run.made_before = &made_;
    run.batch_max = 100;
    TOWLINE_RETURN_IF_ERROR(RunSchemaStatements(session, store_, run));
  }
  return store_.StartCopy({}, {}, std::nullopt, TaskState::kNew);
}

// Of the tables that are done, so that the stream can go on in them.
absl::Status CopyRun::IndexCopied() {
  std::set<TableName> left;
  for (const RangedCopy& copy : ranges_left_) left.insert(copy.table.name);
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run,
                           PreparePostData(options_, kPostSection, store_, progress_));
  auto is_copied = [&left](const PostData& found) { return !left.contains(found.table); };
  TOWLINE_RETURN_IF_ERROR(
      RunPostDataAhead(options_, run, is_copied, SizesOf(pieces), store_, shutdown_));
  FaultPoint("copy:indexed-ahead");
  return absl::OkStatus();
}

absl::Status CopyRun::CopyInRanges() {
  if (ranges_left_.empty()) return absl::OkStatus();
  TOWLINE_RETURN_IF_ERROR(IndexCopied());
  absl::Status copied =
      CopyRanges(options_, std::move(ranges_left_), store_, progress_, companion_, shutdown_);
  std::optional<Oid> again = TableToCopyAgain(copied);
  // The next attempt finds it so, keeps all else that is done, and starts over if it has to.
  if (again.has_value()) TOWLINE_RETURN_IF_ERROR(store_.CopyAgain(*again, copied.message()));
  return copied;
}

absl::Status CopyRun::Finish() {
  FaultPoint("copy:before-post-data");
  TOWLINE_ASSIGN_OR_RETURN(std::vector<PieceRow> pieces, store_.ReadPieces());
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run,
                           PreparePostData(options_, kPostSection, store_, progress_));
  LogInfo("building indexes and constraints",
          {{"statements", absl::StrCat(progress_.statements_total - progress_.statements_done)}});
  run.fault_point = "copy:in-post-data";
  TOWLINE_RETURN_IF_ERROR(RunPostData(options_, run, SizesOf(pieces), store_, shutdown_));
  summary_.EndStep("indexes and constraints",
                   {.statements = progress_.statements_total, .workers = options_.index_workers});
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options_, "index", kSchemaOrigin, store_, shutdown_));
  TOWLINE_RETURN_IF_ERROR(ReleaseLargeObjects(session, store_.claim()));
  TOWLINE_RETURN_IF_ERROR(CopySequences(options_, session, pieces, shutdown_));
  TOWLINE_RETURN_IF_ERROR(AnalyzeTables(options_, session, pieces, store_, shutdown_));
  summary_.EndStep("sequences and statistics", {.tables = static_cast<int64_t>(pieces.size())});
  summary_.Log();
  return store_.SetState(TaskState::kCatchingUp);
}

absl::Status RunCopy(const CopierOptions& options, StateStore& store, CopyProgress& progress,
                     CopyCompanion& companion, const Shutdown& shutdown,
                     absl::FunctionRef<void(const std::string&)> on_wait) {
  return CopyRun(options, store, progress, companion, shutdown, on_wait).Run();
}

absl::Status MakeSchemaOnly(const CopierOptions& options, StateStore& store, CopyProgress& progress,
                            const Shutdown& shutdown,
                            absl::FunctionRef<void(const std::string&)> on_wait) {
  NoCompanion none;
  return CopyRun(options, store, progress, none, shutdown, on_wait).RunSchemaOnly();
}

}  // namespace towline
