#include "precheck/precheck.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "precheck/check_catalog.h"
#include "precheck/check_context.h"
#include "state/state_store.h"
#include "state/task_name.h"

namespace towline {
namespace {

// Session and facts of one side; a failure is a finding and the report's connection status.
void Connect(CheckContext& context, const char* id, const ConnectOptions& options,
             std::optional<Connection>& session, ServerFacts& facts) {
  Connection::Purpose purpose;
  purpose.application_name = "towline check";
  purpose.settings = {"SET lock_timeout = '10s'"};  // sizes of tables are looked at
  absl::StatusOr<Connection> opened = Connection::Open(options, purpose, context.shutdown);
  if (!opened.ok()) {
    context.report.connection.Update(opened.status());
    context.FailBy(id, opened.status());
    return;
  }
  absl::StatusOr<ServerFacts> read = ReadServerFacts(*opened, context.options.role);
  if (!read.ok()) {
    context.FailBy(id, read.status());
    return;
  }
  session = *std::move(opened);
  facts = *std::move(read);
  facts.is_source_standby = &facts == &context.standby_facts;
  context.Pass(
      id, absl::StrCat("connected to database ", facts.database, facts.has_tls ? " over TLS" : ""));
}

// Silent where it fails: the checks will say better what is wrong.
void FindTask(CheckContext& context) {
  CheckOptions& options = context.options;
  if (!context.source || !context.destination) return;
  if (options.task.empty()) {
    absl::StatusOr<ServerIdentity> source =
        ReadSourceIdentity(*context.source, options.source, context.shutdown);
    absl::StatusOr<ServerIdentity> destination = ReadServerIdentity(*context.destination);
    if (!source.ok() || !destination.ok()) return;
    options.task = DeriveTaskName(*source, *destination);
  }
  bool is_given = options.is_stream_alone() && !options.given_slot.empty();
  options.slot = is_given ? options.given_slot : SlotName(options.task);
  absl::StatusOr<std::vector<TaskRow>> tasks = StateStore::ListTasks(*context.destination);
  if (!tasks.ok()) return;
  for (const TaskRow& row : *tasks) {
    if (row.task != options.task || !row.is_slot_created) continue;
    options.slot = row.slot;
    options.is_first_start = false;
  }
}

}  // namespace

CheckReport RunChecks(const CheckOptions& options, const Shutdown& shutdown) {
  CheckContext context(options, shutdown);
  Connect(context, "source.connection", options.source, context.source, context.source_facts);
  if (options.source_standby) {
    Connect(context, "source.standby_connection", *options.source_standby, context.standby,
            context.standby_facts);
  }
  // All before any other check: some compare them.
  Connect(context, "destination.connection", options.destination, context.destination,
          context.destination_facts);
  if (options.finds_task) FindTask(context);
  if (context.source) {
    CheckSourceServer(context);
    CheckSourceSettings(context);
    CheckSourceStream(context);
    CheckSourceLimits(context);
    CheckStandbys(context);
    CheckStandby(context);
    CheckSourceTables(context);
  }
  if (context.destination) {
    CheckDestinationServer(context);
    CheckBothServers(context);
    CheckDestinationTables(context);
    CheckDestinationOwners(context);
    CheckDestinationObjects(context);
    CheckDestinationSequences(context);
  }
  CheckTask(context);
  CheckOtherWriters(context);
  CheckCapacity(context);
  std::erase_if(context.report.findings, [&options](const Finding& finding) {
    return !IsOfStages(finding.id, options.copies_rows, options.streams);
  });
  // In the order of the catalogue's groups, each group's findings as they were found.
  std::stable_sort(context.report.findings.begin(), context.report.findings.end(),
                   [](const Finding& a, const Finding& b) {
                     auto rank = [](const Finding& finding) {
                       return std::string_view("sdct").find(finding.id[0]);
                     };
                     return rank(a) < rank(b);
                   });
  return std::move(context.report);
}

CheckReport RunRuleChecks(const CheckOptions& options, const std::vector<Table>& tables,
                          const Shutdown& shutdown) {
  CheckContext context(options, shutdown);
  context.tables = tables;
  context.is_rule_change = true;
  CheckTableRules(context);
  return std::move(context.report);
}

}  // namespace towline
