#include "snapshot/key_builder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "schema/catalog_reader.h"
#include "schema/post_data.h"
#include "snapshot/copy_finish.h"
#include "snapshot/post_data_runner.h"
#include "snapshot/table_copier.h"

namespace towline {
namespace {

absl::StatusOr<bool> ReadHasKey(Connection& session, const TableName& table,
                                const KeyBuilder::Columns& columns) {
  if (columns.empty()) return true;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> found, ReadTablesByName(session, {table}));
  return HasKeyOn(found.front(), columns);
}

bool MakesKeyOf(const PostData& found, const TableName& table) {
  return found.table == table && found.is_unique;
}

}  // namespace

bool HasKeyOn(const Table& there, const std::vector<std::string>& columns) {
  if (columns.empty()) return true;
  const std::vector<UniqueIndex>& indexes = there.unique_indexes;
  return std::any_of(indexes.begin(), indexes.end(), [&columns](const UniqueIndex& index) {
    return !index.is_partial && std::is_permutation(index.columns.begin(), index.columns.end(),
                                                    columns.begin(), columns.end());
  });
}

absl::StatusOr<std::unique_ptr<KeyBuilder>> KeyBuilder::Open(const CopierOptions& options,
                                                             StateStore& store,
                                                             CopyProgress& progress,
                                                             const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(SchemaRun run, PreparePostData(options, kPostSection, store, progress));
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> statements,
                           store.ReadSchemaStatements(kPostSection));
  KeepWanted([](const PostData&) { return true; }, &statements);
  TOWLINE_ASSIGN_OR_RETURN(Connection session,
                           OpenDestination(options, "index", kSchemaOrigin, store, shutdown));
  TOWLINE_RETURN_IF_ERROR(SetIndexMemory(session, options.index_memory));
  return std::unique_ptr<KeyBuilder>(
      new KeyBuilder(std::move(session), store.claim(), std::move(run), std::move(statements)));
}

absl::StatusOr<bool> KeyBuilder::HasKey(const TableName& table, const Columns& columns) {
  absl::MutexLock lock(&mutex_);
  return ReadHasKey(session_, table, columns);
}

absl::StatusOr<bool> KeyBuilder::Build(const TableName& table, const Columns& columns) {
  absl::MutexLock lock(&mutex_);
  const absl::Time began = SteadyNow();
  for (SchemaStatement& statement : statements_) {
    if (statement.is_setting) {
      TOWLINE_RETURN_IF_ERROR(ApplySchemaSetting(session_, statement.statement));
      continue;
    }
    if (statement.is_done || !MakesKeyOf(ClassifyPostData(statement.statement), table)) {
      continue;
    }
    TOWLINE_RETURN_IF_ERROR(RunSchemaStatement(session_, claim_, run_, statement));
    statement.is_done = true;
  }
  LogDebug("key built", {{"table", QuoteQualified(table.schema, table.name)},
                         {"duration", absl::FormatDuration(absl::Trunc(SteadyNow() - began,
                                                                       absl::Milliseconds(1)))}});
  return ReadHasKey(session_, table, columns);
}

absl::Status KeyBuilder::BuildOthers(const TableName& table, absl::FunctionRef<bool()> goes_on) {
  absl::MutexLock lock(&mutex_);
  for (SchemaStatement& statement : statements_) {
    if (statement.is_done || statement.is_setting || is_refused_) continue;
    const PostData found = ClassifyPostData(statement.statement);
    if (found.table != table || found.is_unique) continue;
    if (!goes_on()) return absl::OkStatus();
    absl::Status built = RunSchemaStatement(session_, claim_, run_, statement);
    if (absl::IsCancelled(built)) return built;
    if (built.ok()) {
      statement.is_done = true;
      continue;
    }
    is_refused_ = true;
    TOWLINE_RETURN_IF_ERROR(session_.Exec("ROLLBACK").status());
    LogWarning("an index is left until all rows are there",
               {{"because", std::string(built.message())}});
  }
  return absl::OkStatus();
}

}  // namespace towline
