// The comparisons before anything is read or written (I2, hazards B2): are these the servers, and
// is this the slot, that the task's position speaks of? A slot ahead of the position means that
// changes are lost to us: START_REPLICATION would pass over them without a word. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "model/table.h"
#include "schema/table_rules.h"
#include "snapshot/slot.h"
#include "state/state_store.h"

namespace towline {

inline constexpr char kPluginName[] = "towline";

// kDataLoss if either end is another server or database than the task was made for, or the source
// writes another timeline (it was failed over or restored). The destination's timeline may differ:
// whether it lost anything shows in CheckSlot().
absl::Status CheckIdentities(const TaskRow& task, const ServerIdentity& source,
                             const ServerIdentity& destination);

// For a task whose slot was created: it is there, ours, usable, and not ahead of the position.
// `database` is the source's as it is called now.
absl::Status CheckSlot(const TaskRow& task, const std::string& database,
                       const std::optional<SlotInfo>& slot);

// Whether a slot of the task's name, whose creation is not noted, can only be the one that a crash
// left between its creation and the note of it: it stands where the intent says and nobody has used
// it. Another destination's task of the same name may have made one meanwhile.
bool IsLeftSlot(const TaskRow& task, const std::string& database, const SlotInfo& slot);

// The pieces whose table has another rule now than when it was copied, with the rule of now.
// `tables` are the pieces' tables at the source by the same index; oid 0: gone, and left out.
std::vector<PieceRow> ChangedRules(const std::vector<PieceRow>& pieces,
                                   const std::vector<Table>& tables, const TableRules& rules);

// kInvalidArgument that names tables and both ways to go on.
absl::Status RefuseRuleChange(const TaskRow& task, const std::vector<PieceRow>& changed);

}  // namespace towline
