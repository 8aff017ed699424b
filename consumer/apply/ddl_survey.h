// What is known of a captured command besides itself, before it is run: which of its tables the
// task carries, which have rules, and what it does to their place in the selection. Asks the
// destination in the open transaction, as it is then.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "apply/ddl_decision.h"
#include "apply/ddl_selection.h"
#include "model/ddl.h"
#include "model/ddl_policy.h"

namespace towline {

// A command as far as it has come. Borrows all.
struct SurveyedCommand {
  const DdlCommand& command;
  const std::vector<DdlObject>& dropped;
  bool misses_drops = false;                  // `dropped` is not all of it
  const std::map<Oid, TableName>& rewritten;  // a materialized view: no name
};

class DdlSurvey {
 public:
  // `is_out`: whether a table's rows are none that the stream has brought. Borrows the others.
  DdlSurvey(DdlSelection* selection, const DdlPolicy* policy,
            std::function<bool(const TableName&)> is_out);

  absl::StatusOr<DdlCircumstances> LookAround(const SurveyedCommand& surveyed);
  // What the policy is asked about, if it goes by tables and schemas.
  absl::StatusOr<std::vector<DdlSubject>> ReadSubjects(const SurveyedCommand& surveyed);
  // Of a table that the command makes, moves or is about, by the names that it has behind it.
  absl::StatusOr<bool> IsSelectedBehind(const DdlCommand& command, const TableName& table);

 private:
  // The table's own name and those above it, as they are behind the command.
  absl::StatusOr<std::vector<TableName>> NamesBehind(const DdlCommand& command,
                                                     const TableName& table);
  absl::StatusOr<std::vector<TableName>> WithAbove(std::vector<TableName> names,
                                                   const TableName& above);
  absl::StatusOr<DdlMoved> MoveOf(const DdlCommand& command);
  absl::StatusOr<DdlMoved> MoveOfPartition(const DdlCommand& command, bool attaches);
  absl::Status NoteRules(const DdlCommand& command, const std::vector<TableName>& tables,
                         DdlCircumstances* found);
  // What is dropped of a table that the source does not tell.
  absl::StatusOr<std::vector<DdlObject>> DroppedWithTables(const std::vector<DdlObject>& dropped);
  absl::StatusOr<std::vector<DdlSubject>> ReadSubjects(const DdlCommand& command,
                                                       const std::vector<DdlObject>& dropped,
                                                       const DdlMoved& moved);

  DdlSelection* selection_;
  const DdlPolicy* policy_;
  std::function<bool(const TableName&)> is_out_;
};

}  // namespace towline
