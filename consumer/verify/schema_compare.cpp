#include "verify/schema_compare.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "pg/quoting.h"
#include "schema/excluded_objects.h"
#include "schema/sequences.h"

namespace towline {
namespace {

constexpr absl::Duration kSequencePoll = absl::Seconds(1);

// Both by one program, that of the newer server: two versions of it may write one thing in two
// ways.
absl::StatusOr<std::multiset<std::string>> ReadStatements(const SchemaCompareOptions& options,
                                                          const ConnectOptions& server,
                                                          int server_version, Connection& session,
                                                          const Shutdown& shutdown) {
  DumpOptions dump;
  dump.source = server;
  dump.server_version = server_version;
  dump.encoding = session.server_encoding();
  dump.application_name = "towline verify dump";
  dump.schema = options.schema;
  TOWLINE_RETURN_IF_ERROR(session.Exec("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").status());
  absl::StatusOr<SchemaDump> dumped = [&]() -> absl::StatusOr<SchemaDump> {
    TOWLINE_ASSIGN_OR_RETURN(dump.snapshot_name,
                             session.QueryValue("SELECT pg_catalog.pg_export_snapshot()"));
    TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTables(session, options.selection));
    TOWLINE_ASSIGN_OR_RETURN(dump.excluded, ReadExcludedObjects(session, tables));
    return DumpSchema(dump, shutdown);
  }();
  if (session.is_alive()) TOWLINE_RETURN_IF_ERROR(session.Exec("ROLLBACK").status());
  TOWLINE_RETURN_IF_ERROR(dumped.status());
  std::multiset<std::string> statements;
  for (std::vector<DumpStatement>* section : {&dumped->pre, &dumped->post}) {
    for (DumpStatement& statement : *section) {
      if (!statement.is_setting) statements.insert(std::move(statement.text));
    }
  }
  return statements;
}

// Numbers that the source has given out and the destination would give out again.
bool IsBehind(const SequenceValue& source, const SequenceValue& destination) {
  if (source.last_value == destination.last_value) {
    return source.is_called && !destination.is_called;
  }
  return source.increment < 0 ? destination.last_value > source.last_value
                              : destination.last_value < source.last_value;
}

absl::StatusOr<std::vector<std::string>> FindBehind(const std::vector<SequenceValue>& wanted,
                                                    Connection& destination, SchemaReport* report) {
  SequenceSelection every;
  every.is_every = true;
  std::vector<TableName> unreadable;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SequenceValue> present,
                           ReadSequences(destination, every, &unreadable));
  const std::set<TableName> hidden(unreadable.begin(), unreadable.end());
  std::map<TableName, SequenceValue> by_name;
  for (SequenceValue& value : present) by_name.emplace(value.name, value);
  std::vector<std::string> behind;
  for (const SequenceValue& value : wanted) {
    if (hidden.contains(value.name)) {
      report->note = absl::StrCat("sequence ", QuoteQualified(value.name.schema, value.name.name),
                                  " may not be read at the destination");
    }
    auto found = by_name.find(value.name);
    // That it is not there is a difference of the schema.
    if (value.does_cycle || found == by_name.end() || !IsBehind(value, found->second)) continue;
    behind.push_back(absl::StrCat(QuoteQualified(value.name.schema, value.name.name), " is at ",
                                  found->second.last_value, ", the source's at ",
                                  value.last_value));
  }
  return behind;
}

}  // namespace

absl::StatusOr<SchemaReport> CompareSchemas(const SchemaCompareOptions& options, Connection& source,
                                            Connection& destination, const Shutdown& shutdown) {
  SchemaReport report;
  const int version = std::max(source.server_version(), destination.server_version());
  TOWLINE_ASSIGN_OR_RETURN(std::multiset<std::string> wanted,
                           ReadStatements(options, options.source, version, source, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(
      std::multiset<std::string> present,
      ReadStatements(options, options.destination, version, destination, shutdown));
  report.statements = static_cast<int64_t>(wanted.size());
  std::set_difference(wanted.begin(), wanted.end(), present.begin(), present.end(),
                      std::back_inserter(report.missing));
  std::set_difference(present.begin(), present.end(), wanted.begin(), wanted.end(),
                      std::back_inserter(report.extra));
  SequenceSelection selection;
  selection.is_all = options.selection.include.empty();
  TOWLINE_ASSIGN_OR_RETURN(std::vector<Table> tables, ReadTables(source, options.selection));
  for (const Table& table : tables) selection.tables.push_back(table.name);
  std::vector<TableName> unreadable;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<SequenceValue> values,
                           ReadSequences(source, selection, &unreadable));
  for (const TableName& name : unreadable) {
    report.note = absl::StrCat("sequence ", QuoteQualified(name.schema, name.name),
                               " may not be read at the source");
  }
  const absl::Time deadline = SteadyNow() + options.sequence_wait;
  while (true) {
    TOWLINE_ASSIGN_OR_RETURN(report.sequences_behind, FindBehind(values, destination, &report));
    if (report.sequences_behind.empty() || SteadyNow() >= deadline) return report;
    if (!shutdown.SleepFor(kSequencePoll)) return absl::CancelledError("shutting down");
  }
}

}  // namespace towline
