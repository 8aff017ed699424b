// What becomes of a captured command. Pure: the selection has been asked before.
#pragma once

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

// What is known besides the command itself.
struct DdlCircumstances {
  bool selects_all = true;     // of the tables, without patterns
  int selected_tables = 0;     // of those that the command names
  int other_tables = 0;        // of those, not selected
  bool has_own_rules = false;  // a table has a rule, or rows of its own (existing: append)
  bool has_rules = false;      // some table of the task has a rule
  bool all_parked = false;     // of the tables that it names
  bool misses_drops = false;   // what the command has dropped is not known whole
  std::vector<DdlObject> dropped;
};

DdlKind KindOf(const DdlCommand& command);

// The tables that the command makes, alters or drops, or that what it does belongs to.
std::vector<TableName> TablesOf(const DdlCommand& command, const std::vector<DdlObject>& dropped);

// Those whose rows would not be the source's without the command.
std::vector<FailedTable> TablesToPark(const DdlCommand& command,
                                      const std::vector<DdlObject>& dropped);

DdlDecision Decide(const DdlCommand& command, const DdlPolicy& policy,
                   const DdlCircumstances& circumstances);

}  // namespace towline
