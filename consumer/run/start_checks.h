// The comparisons before anything is read or written (I2, hazards B2): are these the servers, and
// is this the slot, that the task's position speaks of? A slot ahead of the position means that
// changes are lost to us: START_REPLICATION would pass over them without a word. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/failed_table.h"
#include "model/table.h"
#include "schema/catalog_reader.h"
#include "schema/table_rules.h"
#include "snapshot/slot.h"
#include "state/state_store.h"

namespace towline {

inline constexpr char kPluginName[] = "towline";

// kDataLoss if either end is another server or database than the task was made for. The
// destination's timeline may differ: whether it lost anything shows in CheckSlot().
absl::Status CheckIdentities(const TaskRow& task, const ServerIdentity& source,
                             const ServerIdentity& destination);

// kInvalidArgument if the slot is not on the server that the configuration says it is on: a standby
// of the source or the source itself.
absl::Status CheckSlotServer(const TaskRow& task, bool has_standby);

// kDataLoss: the standby that is streamed from writes a log of its own now.
absl::Status StandbyWasPromoted();

// For a source that may write another timeline than the one that the task has followed: kDataLoss
// unless the slot came along with a standby that was promoted, and all that the destination holds,
// by the stream or by a snapshot of the copy, is from before `fork`, where the new timeline left
// the task's (ForkOf()).
absl::Status CheckFailover(const TaskRow& task, const ServerIdentity& source,
                           const std::optional<SlotInfo>& slot, Lsn fork);

// Where the timeline of this history file left another; invalid: that one is not among its own.
Lsn ForkOf(absl::string_view history, uint32_t timeline);

// For a task whose slot was created: it is there, ours, usable, and not ahead of the position.
// `database` is the source's as it is called now.
absl::Status CheckSlot(const TaskRow& task, const std::string& database,
                       const std::optional<SlotInfo>& slot);

// Of a slot on the source itself: a source whose log ends before the task's position was put back
// to an older state, without a timeline of its own by which that would show. kDataLoss.
absl::Status CheckNotPutBack(const TaskRow& task, Lsn log_end);

// Whether a task whose slot does not lead on from its position may be healed: compared with the
// source and made equal. kFailedPrecondition says why not; kDataLoss: it is another source. The
// destination may be another database than the task was made for, a backup that was restored into a
// new one: it holds the task's row.
absl::Status CheckHealable(const TaskRow& task, const ServerIdentity& source,
                           const std::optional<SlotInfo>& slot, const std::vector<PieceRow>& pieces,
                           const TableRules& rules, bool takes_foreign_origins);

// Whether a slot of the task's name, whose creation is not noted, can only be the one that a crash
// left between its creation and the note of it: it stands where the intent says and nobody has used
// it. Another destination's task of the same name may have made one meanwhile.
bool IsLeftSlot(const TaskRow& task, const std::string& database, const SlotInfo& slot);

// The pieces whose table has another rule now than when it was copied, with the rule of now.
// `tables` are the pieces' tables at the source by the same index; oid 0: gone, and left out.
std::vector<PieceRow> ChangedRules(const std::vector<PieceRow>& pieces,
                                   const std::vector<Table>& tables, const TableRules& rules);

// kInvalidArgument if the rule of one says now that other rows of the destination's table are the
// task's than it said when the table was copied (TableRule::shared). No word of the user mends
// that.
absl::Status CheckSharedKept(const TaskRow& task, const std::vector<PieceRow>& pieces,
                             const TableRules& rules);

// kInvalidArgument that names tables and both ways to go on.
absl::Status RefuseRuleChange(const TaskRow& task, const std::vector<PieceRow>& changed);

// Of the tables that stream those that the stream passes over from here on, because the selection
// of now does not take them any more. Where schema changes are followed, a name tells only of what
// is excluded: the stream itself comes to a renamed table.
std::vector<FailedTable> UnselectedPieces(const std::vector<PieceRow>& pieces,
                                          const std::vector<ListedTable>& tables, bool follows_ddl);

}  // namespace towline
