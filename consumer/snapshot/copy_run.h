// One run of the copy (copier.h), from where the task's state says that it stands to its end. The
// steps share what they find out about tables, so they are one class in several files.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/shutdown.h"
#include "model/name.h"
#include "model/table.h"
#include "pg/connection.h"
#include "schema/dump.h"
#include "snapshot/append_staging.h"
#include "snapshot/copier.h"
#include "snapshot/copy_companion.h"
#include "snapshot/copy_start.h"
#include "snapshot/copy_summary.h"
#include "snapshot/range_copier.h"
#include "snapshot/range_plan.h"
#include "snapshot/table_copier.h"
#include "state/state_store.h"

namespace towline {

// The dump's statements by the sections in which they are stored. `is_at_once`: nothing waits for a
// stream. `ranged`: tables with snapshots of their own.
std::vector<SchemaStatement> StatementsOf(const SchemaDump& dump, const std::vector<Table>& tables,
                                          const std::map<TableName, RangedPlan>& ranged,
                                          bool is_at_once);

class CopyRun {
 public:
  CopyRun(const CopierOptions& options, StateStore& store, CopyProgress& progress,
          CopyCompanion& companion, const Shutdown& shutdown,
          absl::FunctionRef<void(const std::string&)> on_wait)
      : options_(options),
        store_(store),
        progress_(progress),
        companion_(companion),
        shutdown_(shutdown),
        on_wait_(on_wait) {}

  absl::Status Run();
  absl::Status RunSchemaOnly();

 private:
  // copy_run_resume.cpp: what an interrupted copy has left, and whether it can go on with that.
  absl::StatusOr<bool> Resume(const std::vector<PieceRow>& pieces);
  struct Left {
    std::vector<PieceRow> pieces;
    std::vector<SnapshotRow> snapshots;
    std::vector<RangeRow> ranges;
    std::map<TableName, std::string> shapes;
  };
  absl::StatusOr<std::optional<std::string>> GoOn(const Left& left, CopyStart& start);
  absl::StatusOr<bool> GoOnWithNewSchema(const Left& left);
  absl::StatusOr<std::string> CopyOthersAgain(const Left& left, CopyStart& start);
  absl::StatusOr<std::string> PlanKept(const std::vector<Table>& tables, CopyStart& start,
                                       std::map<TableName, RangedPlan>* plans) const;
  absl::Status AddEmptied(Connection& session, const Left& left, const std::vector<Table>& there);
  absl::StatusOr<bool> MayBeEmptied(Connection& session, const std::set<TableName>& names);
  bool HasCommandsBetween(const Left& left, const CopyStart& start) const;
  void NoteKept(const std::vector<PieceRow>& pieces, const std::set<TableName>& kept);
  void LogGoingOn(size_t tables_left);
  absl::Status CheckNoneAppended(const std::vector<PieceRow>& pieces) const;
  absl::Status CheckKnowsExtensionRows(Connection& session, const std::vector<Table>& tables) const;
  void LogStartOver(const std::string& why);

  // copy_run_schema.cpp: a copy that starts, up to the tables that its rows go into.
  absl::Status StartOver();
  void TakeOurs();
  absl::Status LookAtDestination(Connection& session, const std::vector<Table>& tables);
  absl::Status NoteMade();
  absl::Status StoreSchema(const CopyStart& start);
  std::vector<PieceRow> PiecesOf(const std::vector<Table>& tables, int snapshot_number);
  absl::Status StoreShapes(const std::vector<Table>& tables);
  absl::Status FinishSchema();
  absl::Status EmptyBegun(Connection& session);
  absl::Status EmptyAsAsked(Connection& session, const std::vector<Table>& tables);
  absl::Status MakeSchema(Connection& session, const std::vector<Table>& tables);
  absl::Status AdjustTables(Connection& session, const std::vector<Table>& tables);
  std::string EffectivePolicy(const Table& source, const Table& destination) const;
  absl::StatusOr<std::vector<Table>> ReadDestination(Connection& session,
                                                     const std::vector<Table>& tables);

  // copy_run_rows.cpp: what is copied under the exported snapshot.
  absl::Status CopyObjects(Connection& session, CopyStart& start);
  absl::StatusOr<std::map<TableName, RangedCopy>> ReadRanged(const std::vector<PieceRow>& pieces);
  void ShowPlan(const TableCopyJob& job, const std::map<TableName, RangedCopy>& ranged);
  absl::Status CopyTablesAndIndex(TableCopyJob job, const std::vector<StagedTable>& staged,
                                  const std::vector<PieceRow>& pieces, CopyStart& start);
  absl::Status CopyRows(Connection& session, const std::vector<Table>& tables, CopyStart& start);

  absl::Status IndexCopied();
  absl::Status CopyInRanges();
  absl::Status Finish();

  const CopierOptions& options_;
  StateStore& store_;
  CopyProgress& progress_;
  CopyCompanion& companion_;
  const Shutdown& shutdown_;
  absl::FunctionRef<void(const std::string&)> on_wait_;

  std::vector<PieceRow> begun_;                // pieces of an earlier try, whose rows are ours
  std::set<TableName> ours_;                   // their names
  std::set<TableName> streamed_;               // begun_ too, but the tables came by the stream
  std::map<TableName, PieceRow> kept_pieces_;  // begun_ too, and as good as they were
  // Of begun_ those that the destination has as today's rules want them, kept or not.
  std::set<TableName> adjusted_;
  std::map<TableName, std::string> again_;  // what is not, and why
  std::set<TableName> existed_;             // tables at the destination before pre-data
  std::set<std::string> made_;              // statements that an earlier try has run
  std::map<TableName, std::string> policies_;
  std::map<TableName, RangedPlan> ranged_;  // of a copy that starts; then the pieces know
  std::vector<RangedCopy> ranges_left_;     // when all other tables are copied
  std::map<TableName, std::string> reasons_;
  bool is_partial_ = false;
  struct Kept {
    int64_t tables = 0;
    int64_t bytes = 0;
    int64_t rows = 0;
  };
  Kept kept_;  // done by an earlier try
  CopySummary summary_;
};

}  // namespace towline
