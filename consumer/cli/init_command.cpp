#include <cstdio>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "cli/check_options.h"
#include "cli/commands.h"
#include "cli/init_plan.h"
#include "cli/task_finder.h"

namespace towline {
namespace {

struct Side {
  const ConnectOptions& options;
  Connection connection;
  std::string pg_hba;
};

absl::StatusOr<Side> OpenSide(const ConnectOptions& options, const std::string& role,
                              const Shutdown& shutdown) {
  TOWLINE_ASSIGN_OR_RETURN(Connection connection, OpenFor(options, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(
      Result result,
      connection.Query(
          "SELECT pg_catalog.current_database(), COALESCE(NULLIF($1::text, ''), current_user), "
          "COALESCE(pg_catalog.host(pg_catalog.inet_client_addr()), ''), COALESCE((SELECT s.ssl "
          "FROM pg_catalog.pg_stat_ssl s WHERE s.pid = pg_catalog.pg_backend_pid()), false)",
          {{role}}));
  std::string pg_hba = PgHbaLine(result.GetString(0, 0), result.GetString(0, 1),
                                 result.GetString(0, 2), result.GetBool(0, 3));
  return Side{options, std::move(connection), std::move(pg_hba)};
}

// Streaming needs the library only; the extension's functions are for people.
absl::Status AddExtension(Connection& source, InitSide& side) {
  TOWLINE_ASSIGN_OR_RETURN(
      Result result, source.Query("SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = "
                                  "'towline' AND installed_version IS NULL"));
  if (result.row_count() > 0) side.statements.push_back("CREATE EXTENSION towline;");
  return absl::OkStatus();
}

absl::StatusOr<InitPlan> MakePlan(const Arguments& arguments, const Config& config, Side& source,
                                  const Shutdown& shutdown, CheckReport& report) {
  CheckOptions options = CheckOptionsOfTask(config);
  options.role = arguments.role;
  report = RunChecks(options, shutdown);
  if (shutdown.is_requested()) return absl::CancelledError("shutting down");
  TOWLINE_RETURN_IF_ERROR(report.connection);
  InitPlan plan = MakeInitPlan(report);
  TOWLINE_RETURN_IF_ERROR(AddExtension(source.connection, plan.source));
  return plan;
}

// Each statement by itself: what one role may not do, another may already have done.
void ExecuteSide(const InitSide& side, Connection& connection) {
  for (const std::string& statement : side.statements) {
    absl::Status done = connection.Exec(statement).status();
    if (done.ok()) {
      printf("%s: done: %s\n", side.where.c_str(), statement.c_str());
    } else {
      printf("%s: not done: %s\n  %s\n", side.where.c_str(), statement.c_str(),
             std::string(done.message()).c_str());
    }
  }
  if (side.needs_reload || side.needs_restart) {
    absl::Status done = connection.Exec("SELECT pg_catalog.pg_reload_conf()").status();
    printf("%s: %s: SELECT pg_catalog.pg_reload_conf();\n", side.where.c_str(),
           done.ok() ? "done" : "not done");
  }
}

// `standby` may be null.
void PrintPlan(const InitPlan& plan, const Side& source, const Side* standby,
               const Side& destination) {
  auto format = [](const InitSide& part, const Side& side) {
    return FormatInitSide(part, side.options.Describe(), side.pg_hba);
  };
  std::string text = absl::StrCat(
      format(plan.source, source), "\n",
      standby != nullptr ? absl::StrCat(format(plan.standby, *standby), "\n") : std::string(),
      format(plan.destination, destination));
  fputs(text.c_str(), stdout);
}

}  // namespace

absl::StatusOr<int> InitCommand(const Arguments& arguments, const Config& config,
                                Shutdown& shutdown) {
  TOWLINE_RETURN_IF_ERROR(RequireBothUris(config));
  TOWLINE_ASSIGN_OR_RETURN(Side source, OpenSide(config.source, arguments.role, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(Side destination,
                           OpenSide(config.destination, arguments.role, shutdown));
  std::optional<Side> standby;
  if (config.has_source_standby && config.stages.stream) {
    TOWLINE_ASSIGN_OR_RETURN(Side opened,
                             OpenSide(config.source_standby, arguments.role, shutdown));
    standby.emplace(std::move(opened));
  }
  CheckReport report;
  TOWLINE_ASSIGN_OR_RETURN(InitPlan plan, MakePlan(arguments, config, source, shutdown, report));
  if (arguments.is_execute) {
    ExecuteSide(plan.source, source.connection);
    if (standby) ExecuteSide(plan.standby, standby->connection);
    ExecuteSide(plan.destination, destination.connection);
    TOWLINE_ASSIGN_OR_RETURN(plan, MakePlan(arguments, config, source, shutdown, report));
    printf("\n-- What is left:\n");
  }
  PrintPlan(plan, source, standby ? &*standby : nullptr, destination);
  return CheckExitStatus(report);
}

}  // namespace towline
