#include "apply/ddl_survey.h"

#include <optional>
#include <utility>

#include "apply/ddl_names.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// Gives it another name.
bool RenamesTable(const DdlCommand& command) {
  return (HasAction(command, "RENAME TABLE") || HasAction(command, "SET SCHEMA")) &&
         command.objects.size() == 1 && command.objects.front().type == "table";
}

// Not those of an index.
bool IsOfPartition(const DdlCommand& command) {
  return command.tag == "ALTER TABLE" &&
         (HasAction(command, "ATTACH PARTITION") || HasAction(command, "DETACH PARTITION"));
}

}  // namespace

DdlSurvey::DdlSurvey(DdlSelection* selection, const DdlPolicy* policy,
                     std::function<bool(const TableName&)> is_out)
    : selection_(selection), policy_(policy), is_out_(std::move(is_out)) {}

absl::StatusOr<DdlCircumstances> DdlSurvey::LookAround(const SurveyedCommand& surveyed) {
  const DdlCommand& command = surveyed.command;
  DdlCircumstances found;
  found.selects_all = selection_->selects_all();
  found.has_rules = selection_->has_rules();
  found.misses_drops = surveyed.misses_drops;
  found.dropped = surveyed.dropped;
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<DdlObject> dropped,
                           DroppedWithTables(surveyed.dropped));
  const std::vector<TableName> tables = TablesOf(command, dropped);
  size_t parked_count = 0;
  for (const TableName& table : tables) {
    TOWLINE_ASSIGN_OR_RETURN(const bool is_selected, IsSelectedBehind(command, table));
    ++(is_selected ? found.selected_tables : found.other_tables);
    parked_count += is_out_(table) ? 1 : 0;
  }
  found.all_parked = parked_count > 0 && parked_count == tables.size();
  // A command is of what it has rewritten, too, which may have lost its rows; some name none of it.
  for (const auto& [oid, table] : surveyed.rewritten) {
    if (table.name.empty() || command.phase != DdlPhase::kEnd) continue;
    TOWLINE_ASSIGN_OR_RETURN(const bool is_selected, selection_->IsSelected(table));
    ++(is_selected ? found.selected_tables : found.other_tables);
  }
  TOWLINE_RETURN_IF_ERROR(NoteRules(command, tables, &found));
  TOWLINE_ASSIGN_OR_RETURN(found.moved, MoveOf(command));
  // It is of that one table.
  if (found.moved.what != DdlMove::kNone) {
    found.selected_tables = found.moved.what == DdlMove::kOutside ? 0 : 1;
    found.other_tables = 1 - found.selected_tables;
  }
  TOWLINE_ASSIGN_OR_RETURN(found.subjects, ReadSubjects(command, dropped, found.moved));
  return found;
}

// Rules go by the names that tables have before the command.
absl::Status DdlSurvey::NoteRules(const DdlCommand& command, const std::vector<TableName>& tables,
                                  DdlCircumstances* found) {
  if (!selection_->has_any_rules()) return absl::OkStatus();
  std::vector<TableName> named = tables;
  if (RenamesTable(command)) {
    const std::optional<TableName> before = NamedTable(command);
    if (before.has_value()) named.push_back(*before);
    found->has_own_rules |= !before.has_value();
  }
  for (const TableName& table : named) {
    TOWLINE_ASSIGN_OR_RETURN(const bool has_own_rules, selection_->HasOwnRules(table));
    found->has_own_rules |= has_own_rules;
  }
  for (const DdlFill& fill : command.fills) named.push_back(fill.table);
  if (IsOfPartition(command)) {
    const std::optional<TableName> partition = NamedPartition(command);
    found->has_table_rules |= !partition.has_value() && selection_->has_rules();
    if (partition.has_value()) {
      TOWLINE_ASSIGN_OR_RETURN(std::vector<TableName> below, selection_->TablesBelow(*partition));
      named.push_back(*partition);
      named.insert(named.end(), below.begin(), below.end());
    }
  }
  for (const TableName& table : named) {
    TOWLINE_ASSIGN_OR_RETURN(const bool has_rule, selection_->HasRule(table));
    found->has_table_rules |= has_rule;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> DdlSurvey::IsSelectedBehind(const DdlCommand& command,
                                                 const TableName& table) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TableName> names, NamesBehind(command, table));
  return selection_->AreSelected(names);
}

absl::StatusOr<std::vector<TableName>> DdlSurvey::WithAbove(std::vector<TableName> names,
                                                            const TableName& above) {
  TOWLINE_ASSIGN_OR_RETURN(std::vector<TableName> more, selection_->TablesAbove(above));
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

absl::StatusOr<std::vector<TableName>> DdlSurvey::NamesBehind(const DdlCommand& command,
                                                              const TableName& table) {
  if (selection_->selects_all()) return std::vector<TableName>{table};
  std::optional<TableName> named;
  const bool makes = command.tag == "CREATE TABLE";
  if (makes || RenamesTable(command)) named = NamedTable(command);
  if (!named.has_value()) return WithAbove({table}, table);
  return makes ? WithAbove({table, *named}, *named) : WithAbove({table}, *named);
}

absl::StatusOr<DdlMoved> DdlSurvey::MoveOf(const DdlCommand& command) {
  DdlMoved moved;
  if (selection_->selects_all()) return moved;
  if (IsOfPartition(command)) {
    return MoveOfPartition(command, HasAction(command, "ATTACH PARTITION"));
  }
  if (!RenamesTable(command)) return moved;
  const DdlObject& object = command.objects.front();
  const std::optional<TableName> before = NamedTable(command);
  moved.what = DdlMove::kUnknown;
  moved.source_oid = object.oid;
  moved.behind = object.table;
  if (!before.has_value()) return moved;
  moved.before = *before;
  TOWLINE_ASSIGN_OR_RETURN(const bool was_selected, selection_->IsSelected(moved.before));
  TOWLINE_ASSIGN_OR_RETURN(moved.is_selected_behind, IsSelectedBehind(command, moved.behind));
  if (was_selected) {
    moved.what = moved.is_selected_behind ? DdlMove::kStays : DdlMove::kLeaves;
  } else {
    moved.what = moved.is_selected_behind ? DdlMove::kEnters : DdlMove::kOutside;
  }
  return moved;
}

// By its own name it is one thing, and with those above it another.
absl::StatusOr<DdlMoved> DdlSurvey::MoveOfPartition(const DdlCommand& command, bool attaches) {
  DdlMoved moved;
  moved.what = DdlMove::kUnknown;
  const std::optional<TableName> parent = NamedTable(command);
  const std::optional<TableName> partition = NamedPartition(command);
  if (!parent.has_value() || !partition.has_value()) return moved;
  moved.before = moved.behind = *partition;
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<TableName> below,
                           WithAbove({*partition, *parent}, *parent));
  TOWLINE_ASSIGN_OR_RETURN(const bool is_selected_below, selection_->AreSelected(below));
  TOWLINE_ASSIGN_OR_RETURN(const bool is_selected_alone, selection_->AreSelected({*partition}));
  TOWLINE_ASSIGN_OR_RETURN(const bool is_parent_selected, selection_->IsSelected(*parent));
  const bool was_selected = attaches ? is_selected_alone : is_selected_below;
  moved.is_selected_behind = attaches ? is_selected_below : is_selected_alone;
  if (was_selected && !is_parent_selected) {
    // It has no parent here.
    moved.what = attaches ? DdlMove::kApart : DdlMove::kOutside;
  } else if (was_selected) {
    moved.what = moved.is_selected_behind ? DdlMove::kStays : DdlMove::kLeaves;
  } else {
    moved.what = moved.is_selected_behind ? DdlMove::kEnters : DdlMove::kOutside;
  }
  return moved;
}

absl::StatusOr<std::vector<DdlObject>> DdlSurvey::DroppedWithTables(
    const std::vector<DdlObject>& dropped) {
  std::vector<DdlObject> told = dropped;
  for (DdlObject& object : told) {
    if (!object.table.name.empty()) continue;
    if (object.type == "index") {
      TOWLINE_ASSIGN_OR_RETURN(object.table, selection_->TableOfIndex(object.identity));
    } else {
      object.table = TableOf(object).value_or(TableName());
    }
  }
  return told;
}

absl::StatusOr<std::vector<DdlSubject>> DdlSurvey::ReadSubjects(const SurveyedCommand& surveyed) {
  TOWLINE_ASSIGN_OR_RETURN(const std::vector<DdlObject> dropped,
                           DroppedWithTables(surveyed.dropped));
  return ReadSubjects(surveyed.command, dropped, DdlMoved());
}

absl::StatusOr<std::vector<DdlSubject>> DdlSurvey::ReadSubjects(
    const DdlCommand& command, const std::vector<DdlObject>& dropped, const DdlMoved& moved) {
  if (!policy_->GoesBySubject()) return std::vector<DdlSubject>();
  std::vector<DdlSubject> subjects;
  for (DdlSubject& subject : SubjectsOf(command, dropped)) {
    if (!subject.tables.empty()) {
      const TableName table = subject.tables.front();
      TOWLINE_ASSIGN_OR_RETURN(const bool is_selected, IsSelectedBehind(command, table));
      if (!is_selected && moved.what != DdlMove::kLeaves) continue;
      // It is not here yet under another name.
      const std::optional<TableName> named =
          RenamesTable(command) ? NamedTable(command) : std::nullopt;
      TOWLINE_ASSIGN_OR_RETURN(subject.tables,
                               WithAbove(std::move(subject.tables), named.value_or(table)));
    }
    subjects.push_back(std::move(subject));
  }
  return subjects;
}

}  // namespace towline
