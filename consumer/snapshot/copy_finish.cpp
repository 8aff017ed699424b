#include "snapshot/copy_finish.h"

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/linked_shutdown.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/array_literal.h"
#include "snapshot/table_copier.h"
#include "state/task_name.h"

namespace towline {
namespace {

constexpr char kRootsSql[] = R"sql(
SELECT rn.nspname, r.relname, pg_catalog.sum(copied.bytes)::bigint
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS copied(schema_name, name, bytes)
JOIN pg_catalog.pg_namespace n ON n.nspname = copied.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = copied.name
JOIN pg_catalog.pg_class r ON r.oid = COALESCE(pg_catalog.pg_partition_root(c.oid)::oid, c.oid)
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2
)sql";

// Less than this is analyzed sooner than more sessions are there.
constexpr int64_t kAnalyzedAloneMax = int64_t{64} << 20;

absl::Status Analyze(Connection& session, const std::vector<std::string>& tables) {
  return WithContext(session.Exec("ANALYZE " + absl::StrJoin(tables, ", ")).status(),
                     "analyzing the copied tables");
}

// Each list on a session of its own, the first on `destination`.
absl::Status AnalyzeAtOnce(const CopierOptions& options, Connection& destination,
                           const std::vector<std::vector<std::string>>& lists, StateStore& store,
                           const Shutdown& shutdown) {
  LinkedShutdown stop(shutdown);
  std::vector<Connection> sessions;
  for (size_t i = 1; i < lists.size(); ++i) {
    TOWLINE_ASSIGN_OR_RETURN(
        Connection session, OpenDestination(options, "analyze", kSchemaOrigin + static_cast<int>(i),
                                            store, stop.shutdown()));
    sessions.push_back(std::move(session));
  }
  std::vector<absl::Status> done(lists.size());
  std::vector<std::thread> threads;
  for (size_t i = 1; i < lists.size(); ++i) {
    threads.emplace_back([&, i] { done[i] = Analyze(sessions[i - 1], lists[i]); });
  }
  done[0] = Analyze(destination, lists[0]);
  if (!done[0].ok()) stop.Request();
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : done) TOWLINE_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SequenceSelection> SelectSequences(Connection& source,
                                                  const TableSelection& selection,
                                                  const std::vector<PieceRow>& pieces) {
  std::set<TableName> tables;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<ListedTable> listed, ListTables(source, selection));
  for (const ListedTable& table : listed) {
    if (table.is_selected) tables.insert(table.name);
  }
  for (const PieceRow& piece : pieces) {
    if (piece.state == "removed") {
      tables.erase(piece.table);
    } else {
      tables.insert(piece.table);
    }
  }
  SequenceSelection selected;
  selected.is_all = selection.include.empty();
  selected.tables.assign(tables.begin(), tables.end());
  return selected;
}

absl::Status CopySequences(const CopierOptions& options, Connection& destination,
                           const std::vector<PieceRow>& pieces, const Shutdown& shutdown) {
  bool has_append = std::any_of(pieces.begin(), pieces.end(),
                                [](const PieceRow& piece) { return piece.existing == "append"; });
  if (options.requires_origin && has_append) {
    LogInfo("sequences are left as they are: with origin: none both sides may write");
    return absl::OkStatus();
  }
  Connection::Purpose purpose;
  purpose.application_name = SourceApplication(options.task, "sequences");
  TOWLINE_ASSIGN_OR_RETURN(Connection source, Connection::Open(options.source, purpose, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(const SequenceSelection selection,
                           SelectSequences(source, options.selection, pieces));
  std::vector<TableName> unreadable;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SequenceValue> values,
                           ReadSequences(source, selection, &unreadable));
  for (const TableName& name : unreadable) {
    LogWarning("no right to read a sequence of the source; its value is not carried over",
               {{"sequence", QuoteQualified(name.schema, name.name)}});
  }
  // Other tasks may have set the same sequences.
  const bool is_shared =
      std::any_of(options.rules.begin(), options.rules.end(),
                  [](const auto& named) { return !named.second.shared.empty(); });
  absl::StatusOr<SequencesSet> set =
      SetSequences(destination, values, /*never_back=*/has_append || is_shared);
  TOWLINE_RETURN_IF_ERROR(WithContext(set.status(), "setting the sequences"));
  LogInfo("sequences set", {{"count", absl::StrCat(set->count)}});
  if (std::string missing = NameSequences(set->missing); !missing.empty()) {
    LogWarning("sequences of the source are not at the destination; their values are not set",
               {{"sequences", missing}});
  }
  return absl::OkStatus();
}

absl::Status AnalyzeTables(const CopierOptions& options, Connection& destination,
                           const std::vector<PieceRow>& pieces, StateStore& store,
                           const Shutdown& shutdown) {
  ArrayLiteral schemas;
  ArrayLiteral names;
  ArrayLiteral sizes;
  for (const PieceRow& piece : pieces) {
    schemas.Add(piece.table.schema);
    names.Add(piece.table.name);
    sizes.Add(absl::StrCat(piece.bytes_total));
  }
  TOWLINE_ASSIGN_OR_RETURN(
      Result found,
      destination.Query(kRootsSql, {{schemas.ToString(), names.ToString(), sizes.ToString()}}));
  if (found.row_count() == 0) return absl::OkStatus();
  int64_t total = 0;
  for (int row = 0; row < found.row_count(); ++row) total += found.GetInt(row, 2);
  const int sessions =
      total <= kAnalyzedAloneMax ? 1 : std::clamp(options.index_workers, 1, found.row_count());
  // The next largest to whoever has least.
  std::vector<std::vector<std::string>> lists(static_cast<size_t>(sessions));
  std::vector<int64_t> bytes(lists.size());
  for (int row = 0; row < found.row_count(); ++row) {
    const auto least = std::min_element(bytes.begin(), bytes.end());
    *least += found.GetInt(row, 2);
    lists[static_cast<size_t>(least - bytes.begin())].push_back(
        QuoteQualified(found.Get(row, 0), found.Get(row, 1)));
  }
  // Tables without a page may leave some.
  std::erase_if(lists, [](const std::vector<std::string>& list) { return list.empty(); });
  return AnalyzeAtOnce(options, destination, lists, store, shutdown);
}

absl::StatusOr<SchemaRun> PreparePostData(const CopierOptions& options, const char* section,
                                          StateStore& store, CopyProgress& progress) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SchemaStatement> statements,
                           store.ReadSchemaStatements(section));
  SchemaRun run;
  run.section = section;
  run.is_partial = !options.selection.include.empty() || !options.selection.exclude.empty();
  run.done = &progress.statements_done;
  int64_t total = 0;
  int64_t done = 0;
  for (const SchemaStatement& statement : statements) {
    total += statement.is_setting ? 0 : 1;
    done += statement.is_done ? 1 : 0;
    // Which tables were there before us is not known any more after a crash, so all count as such.
    // On a table that we have made, the errors that this tolerates cannot come.
    run.existed.insert(TableOfStatement(statement.statement));
  }
  progress.statements_total = total;
  progress.statements_done = done;
  return run;
}

std::map<TableName, int64_t> SizesOf(const std::vector<PieceRow>& pieces) {
  std::map<TableName, int64_t> sizes;
  for (const PieceRow& piece : pieces) sizes[piece.table] = piece.bytes_total;
  return sizes;
}

absl::Status SetIndexMemory(Connection& destination, int64_t bytes) {
  if (bytes > 0) {
    constexpr int64_t kKilobytesMin = 1024;  // the server takes no less
    return destination
        .Exec(absl::StrCat("SET maintenance_work_mem = '", std::max(bytes >> 10, kKilobytesMin),
                           "kB'"))
        .status();
  }
  return destination
      .Query(
          "SELECT pg_catalog.set_config('maintenance_work_mem', '256MB', false) "
          "FROM pg_catalog.pg_settings "
          "WHERE name = 'maintenance_work_mem' AND setting::bigint < 262144")
      .status();
}

}  // namespace towline
