// What becomes of a captured command. Pure: the selection has been asked before.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/ddl.h"
#include "model/ddl_policy.h"
#include "model/failed_table.h"

namespace towline {

struct DdlDecision {
  DdlAction action = DdlAction::kApply;
  std::string reason;  // of kHold and kIgnore
  bool waits = false;  // kHold: by the operator's word, not because it cannot be run
};

// What a command that gives a table another name, or puts it below or beside others, does to its
// place in the selection.
enum class DdlMove {
  kNone,     // it is no such command, or all tables are selected
  kOutside,  // selected neither before nor behind it; or what it leaves is not selected
  kStays,    // selected before and behind it
  kLeaves,   // it is not selected any more
  kEnters,   // with its rows
  kApart,    // it is selected by itself, and becomes a partition of one that is not
  kUnknown,  // its names cannot be read
};

// The table that it is about.
struct DdlMoved {
  DdlMove what = DdlMove::kNone;
  TableName before;
  TableName behind;
  Oid source_oid = 0;               // 0: it is not told
  bool is_selected_behind = false;  // by the names that it has then
};

// What is known besides the command itself.
struct DdlCircumstances {
  bool selects_all = true;  // of the tables, without patterns
  DdlMoved moved;
  int selected_tables = 0;     // of those that the command names
  int other_tables = 0;        // of those, not selected
  bool has_own_rules = false;  // a table has a rule, or rows of its own (existing: append)
  // Of those, the partition that it names and those below that, or columns that it fills.
  bool has_table_rules = false;
  bool has_rules = false;     // some table of the task has one
  bool all_parked = false;    // of the tables that it names
  bool misses_drops = false;  // what the command has dropped is not known whole
  std::vector<DdlObject> dropped;
  // What it is about, where the policy goes by tables or schemas; none: it is the task's.
  std::vector<DdlSubject> subjects;
};

DdlKind KindOf(const DdlCommand& command);

// The tables that the command makes, alters or drops, or that what it does belongs to.
std::vector<TableName> TablesOf(const DdlCommand& command, const std::vector<DdlObject>& dropped);

// That it is, or is of; a trigger, a rule or a policy that is dropped tells it by its identity.
std::optional<TableName> TableOf(const DdlObject& object);

// What the policy is asked about: the tables, with what belongs to them, that the command is of;
// where it is of none, and of a schema's commands, each object. Without the tables above.
std::vector<DdlSubject> SubjectsOf(const DdlCommand& command,
                                   const std::vector<DdlObject>& dropped);

// Of several subjects one that is held holds all; where some are ignored nothing can be left out.
DdlWord WordFor(DdlKind kind, const DdlPolicy& policy, const std::vector<DdlSubject>& subjects);

// Those whose rows would not be the source's without the command.
std::vector<FailedTable> TablesToPark(const DdlCommand& command,
                                      const std::vector<DdlObject>& dropped);

DdlDecision Decide(const DdlCommand& command, const DdlPolicy& policy,
                   const DdlCircumstances& circumstances);

}  // namespace towline
