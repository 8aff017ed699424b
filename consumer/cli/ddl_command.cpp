// ddl: what became of the source's schema changes, and the operator's word on those that are held.
// Only the destination is asked and written, so it works whether or not the task runs.
#include <algorithm>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "apply/ddl_history.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/task_finder.h"
#include "nlohmann/json.hpp"

namespace towline {
namespace {

std::string Indented(const std::string& text) {
  return absl::StrCat("    ", absl::StrReplaceAll(text, {{"\n", "\n    "}}), "\n");
}

std::string TextOf(const DdlRecord& record) {
  std::string text =
      absl::StrCat(record.number, "  ", record.fate,
                   record.decision.empty() ? "" : absl::StrCat(", decided: ", record.decision),
                   "  ", record.recorded_at, "  ", record.end_lsn, "  ", record.tag,
                   record.objects.empty() ? "" : absl::StrCat(" (", record.objects, ")"), "\n");
  if (!record.reason.empty()) absl::StrAppend(&text, Indented(record.reason));
  if (!record.statement.empty()) absl::StrAppend(&text, Indented(record.statement));
  if (record.fate != "held") return text;
  if (!record.decision.empty())
    return absl::StrCat(text, Indented("Now: towline run, unless it waits for this"));
  absl::StrAppend(&text, Indented("Mend what is in its way and run again; or make the change at "
                                  "the destination by hand, then:"));
  absl::StrAppend(&text, Indented(absl::StrCat("towline ddl skip ", record.number)));
  if (!record.statement.empty()) {
    absl::StrAppend(&text, Indented(absl::StrCat("towline ddl approve ", record.number,
                                                 "    (runs it as it is)")));
  }
  return text;
}

nlohmann::json JsonOf(const DdlRecord& record) {
  return {{"number", record.number},
          {"end_lsn", record.end_lsn},
          {"ordinal", record.ordinal},
          {"recorded_at", record.recorded_at},
          {"tag", record.tag},
          {"kind", record.kind},
          {"statement", record.statement},
          {"search_path", record.search_path},
          {"role", record.role},
          {"objects", record.objects},
          {"fate", record.fate},
          {"reason", record.reason},
          {"decision", record.decision}};
}

absl::StatusOr<int> List(Connection& destination, const std::string& task,
                         const Arguments& arguments) {
  const DdlRecords which = arguments.lists_all_ddl ? DdlRecords::kAll : DdlRecords::kNotAsAtSource;
  TOWLINE_ASSIGN_OR_RETURN(std::vector<DdlRecord> records, ListDdl(destination, task, which));
  if (arguments.is_json) {
    nlohmann::json list = nlohmann::json::array();
    for (const DdlRecord& record : records) list.push_back(JsonOf(record));
    puts(list.dump(2).c_str());
    return 0;
  }
  for (const DdlRecord& record : records) fputs(TextOf(record).c_str(), stdout);
  if (records.empty()) {
    puts(arguments.lists_all_ddl ? "no schema change has come yet"
                                 : "none is held, parked or skipped (--all lists every one)");
  }
  return 0;
}

// Without a number: the last that nobody has decided about. Of several in one transaction those
// before it have been, and are still held, as nothing of it is committed.
absl::StatusOr<DdlRecord> FindHeld(Connection& destination, const std::string& task,
                                   const std::string& word) {
  int64_t number = 0;
  if (!word.empty() && !absl::SimpleAtoi(word, &number)) {
    return WithHint(absl::InvalidArgumentError(absl::StrCat("\"", word, "\" is no number")),
                    "towline ddl list shows the numbers.");
  }
  TOWLINE_ASSIGN_OR_RETURN(std::vector<DdlRecord> records,
                           ListDdl(destination, task, DdlRecords::kHeld));
  std::reverse(records.begin(), records.end());
  for (const DdlRecord& record : records) {
    if (word.empty() ? record.decision.empty() : record.number == number) return record;
  }
  if (word.empty() && !records.empty()) return records.front();
  return WithHint(
      absl::FailedPreconditionError(
          word.empty() ? absl::StrCat("no schema change of task ", task, " is held")
                       : absl::StrCat("schema change ", number, " of task ", task, " is not held")),
      "towline ddl list --all shows what became of each.");
}

absl::StatusOr<int> DecideHeld(Connection& destination, const std::string& task,
                               const Arguments& arguments) {
  TOWLINE_ASSIGN_OR_RETURN(DdlRecord held, FindHeld(destination, task, arguments.ddl_number));
  if (arguments.ddl_action == "approve" && held.statement.empty()) {
    return WithHint(absl::FailedPreconditionError(absl::StrCat("schema change ", held.number,
                                                               " cannot be run: ", held.reason)),
                    absl::StrCat("Make the change at the destination by hand, then: towline ddl "
                                 "skip ",
                                 held.number, "."));
  }
  TOWLINE_RETURN_IF_ERROR(DecideDdl(destination, task, held, arguments.ddl_action));
  printf("schema change %lld (%s) of task %s: %s; towline run goes on with it\n",
         static_cast<long long>(held.number), held.tag.c_str(), task.c_str(),
         arguments.ddl_action == "skip" ? "is to be skipped" : "is to be run as it is");
  return 0;
}

}  // namespace

absl::StatusOr<int> DdlCommandLine(const Arguments& arguments, const Config& config,
                                   Shutdown& shutdown) {
  const std::string& action = arguments.ddl_action;
  if (action != "list" && action != "approve" && action != "skip") {
    return WithHint(absl::InvalidArgumentError(
                        action.empty() ? "what to do with schema changes is missing"
                                       : absl::StrCat("ddl does not know \"", action, "\"")),
                    "towline ddl list, towline ddl approve NUMBER, or towline ddl skip NUMBER.");
  }
  if (!config.has_destination) return MissingUri("destination");
  TOWLINE_ASSIGN_OR_RETURN(Connection destination, OpenFor(config.destination, shutdown));
  TOWLINE_ASSIGN_OR_RETURN(std::string task, TaskAt(destination, config, shutdown));
  return action == "list" ? List(destination, task, arguments)
                          : DecideHeld(destination, task, arguments);
}

}  // namespace towline
