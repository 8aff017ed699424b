#include "run/start_checks.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

std::string StartAgainHint(const TaskRow& task) {
  return absl::StrCat("To copy everything again: towline drop --task ", task.task,
                      " with both URIs, empty the destination's tables (or existing: truncate), "
                      "then the same command.");
}

std::string HealHint(const TaskRow& task) {
  if (task.is_slot_on_standby) return StartAgainHint(task);  // CheckHealable()
  return absl::StrCat(
      "The same command with --heal makes a new slot, compares all rows and mends "
      "those that differ. ",
      StartAgainHint(task));
}

std::string Describe(const ServerIdentity& identity) {
  return absl::StrCat("system identifier ", identity.system_identifier, ", timeline ",
                      identity.timeline, ", database \"", identity.database, "\" (OID ",
                      identity.database_oid, ")");
}

absl::Status CheckIdentity(const TaskRow& task, absl::string_view side,
                           const ServerIdentity& stored, const ServerIdentity& found) {
  // 0: an administrator has taken the right to read it away.
  bool is_system_same = stored.system_identifier == found.system_identifier ||
                        stored.system_identifier == 0 || found.system_identifier == 0;
  if (is_system_same && stored.database_oid == found.database_oid) return absl::OkStatus();
  return WithHint(
      WithDetail(absl::DataLossError(absl::StrCat("the ", side, " is not the database that task ",
                                                  task.task, " was made for")),
                 absl::StrCat("The task was made for ", Describe(stored), "; the URI leads to ",
                              Describe(found), ".")),
      absl::StrCat("Correct the URI of the ", side, ", or give another --task for another pair."));
}

// Versions before 16 give no reason, and have but one.
absl::Status LostSlot(const TaskRow& task, const SlotInfo& slot) {
  absl::string_view reason = slot.invalidation_reason;
  if (reason.empty() || reason == "wal_removed") {
    return WithHint(
        absl::DataLossError(absl::StrCat("the slot ", task.slot,
                                         " is lost: the server removed the log it needs "
                                         "(max_slot_wal_keep_size)")),
        HealHint(task));
  }
  absl::Status lost = absl::DataLossError(absl::StrCat(
      "the slot ", task.slot, " is lost: the server has invalidated it (", reason, ")"));
  if (task.is_slot_on_standby) {
    lost = WithDetail(lost,
                      "On a standby that happens where hot_standby_feedback is off, or the standby "
                      "was away without a physical slot (primary_slot_name), while the primary "
                      "removed rows of its catalogs that the slot needed; and where wal_level of "
                      "the primary was lowered.");
  }
  return WithHint(lost, HealHint(task));
}

}  // namespace

absl::Status CheckSlotServer(const TaskRow& task, bool has_standby) {
  if (task.is_slot_on_standby == has_standby) return absl::OkStatus();
  return WithHint(
      absl::InvalidArgumentError(
          has_standby ? absl::StrCat("source_standby is given, and the slot of task ", task.task,
                                     " is on the source itself")
                      : absl::StrCat("the slot of task ", task.task,
                                     " is on a standby of the source, and no source_standby is "
                                     "given")),
      has_standby ? "Leave source_standby out; or drop the task (towline drop) and copy anew."
                  : "Give source_standby as before.");
}

absl::Status StandbyWasPromoted() {
  return WithHint(
      WithDetail(absl::DataLossError("the standby that the changes are read from was promoted"),
                 "It goes on by a log of its own. What was committed there since may have been "
                 "applied, and what the old primary commits does not come."),
      "Drop the task (towline drop), and copy anew from the primary of now. towline verify says "
      "what the destination has of it.");
}

absl::Status CheckIdentities(const TaskRow& task, const ServerIdentity& source,
                             const ServerIdentity& destination) {
  TOWLINE_RETURN_IF_ERROR(CheckIdentity(task, "source", task.source, source));
  return CheckIdentity(task, "destination", task.destination, destination);
}

absl::Status CheckFailover(const TaskRow& task, const ServerIdentity& source,
                           const std::optional<SlotInfo>& slot, Lsn fork) {
  if (task.source.timeline == source.timeline) return absl::OkStatus();
  std::string why =
      "Changes that were applied may be missing there, and the other way round: the slot was not "
      "kept synchronised with the old primary's.";
  if (slot.has_value() && slot->is_synced) {
    // What a snapshot of the copy saw behind the fork is at the destination, and nowhere else; its
    // transaction numbers are given out again.
    const bool is_copied = task.phase >= TaskState::kCatchingUp &&
                           (!task.lsn_after.is_valid() || task.lsn_after <= fork);
    if (fork.is_valid() && task.position <= fork) {
      if (is_copied) return absl::OkStatus();
      return WithHint(
          WithDetail(
              absl::DataLossError("the source was failed over while the task's copy went on, or "
                                  "before the stream had passed it"),
              absl::StrCat("The timelines part at ", fork.ToString(),
                           ", and the copy may have rows from behind it that are only there.")),
          HealHint(task));
    }
    why =
        absl::StrCat("The destination holds all before ", task.position.ToString(),
                     fork.is_valid() ? absl::StrCat(", and the timelines part at ", fork.ToString(),
                                                    ": what is between the two is only there.")
                                     : ", and the timeline that it followed is none of the "
                                       "source's.");
  }
  return WithHint(
      WithDetail(absl::DataLossError("the source was failed over or restored since the task began"),
                 absl::StrCat("It wrote timeline ", task.source.timeline, " and writes ",
                              source.timeline, " now. ", why)),
      HealHint(task));
}

Lsn ForkOf(absl::string_view history, uint32_t timeline) {
  for (absl::string_view line : absl::StrSplit(history, '\n')) {
    std::vector<absl::string_view> parts =
        absl::StrSplit(line, absl::ByAnyChar("\t "), absl::SkipEmpty());
    uint32_t number = 0;
    if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &number) || number != timeline) continue;
    absl::StatusOr<Lsn> fork = Lsn::Parse(parts[1]);
    if (fork.ok()) return *fork;
  }
  return Lsn{};
}

absl::Status CheckSlot(const TaskRow& task, const std::string& database,
                       const std::optional<SlotInfo>& slot) {
  if (!slot.has_value()) {
    return WithHint(absl::DataLossError(absl::StrCat("the slot ", task.slot,
                                                     " is gone from the source: changes since ",
                                                     task.position.ToString(), " are lost to us")),
                    HealHint(task));
  }
  if (slot->plugin != kPluginName || slot->database != database) {
    return WithHint(
        WithDetail(
            absl::DataLossError(absl::StrCat("the slot ", task.slot, " is not the task's")),
            absl::StrCat("It belongs to plugin ", slot->plugin, " in database \"", slot->database,
                         "\"; expected ", kPluginName, " in \"", database, "\".")),
        HealHint(task));
  }
  if (slot->wal_status == "lost") return LostSlot(task, *slot);
  if (slot->confirmed_flush_lsn > task.position) {
    return WithHint(
        WithDetail(
            absl::DataLossError(absl::StrCat("the destination is older than the slot ", task.slot,
                                             ": changes between the two are lost to us")),
            absl::StrCat("The destination holds all before ", task.position.ToString(),
                         ", the slot begins at ", slot->confirmed_flush_lsn.ToString(),
                         ". The destination was restored or failed over, or the slot was "
                         "made again or moved by somebody else.")),
        HealHint(task));
  }
  return absl::OkStatus();
}

absl::Status CheckNotPutBack(const TaskRow& task, Lsn log_end) {
  if (task.position <= log_end) return absl::OkStatus();
  return WithHint(
      WithDetail(absl::DataLossError("the source was put back to an older state"),
                 absl::StrCat("The destination holds all before ", task.position.ToString(),
                              ", and the source's log ends at ", log_end.ToString(),
                              ": what was between the two is only there, and what the source "
                              "writes up to there would be passed over.")),
      HealHint(task));
}

absl::Status CheckHealable(const TaskRow& task, const ServerIdentity& source,
                           const std::optional<SlotInfo>& slot, const std::vector<PieceRow>& pieces,
                           const TableRules& rules, bool takes_foreign_origins) {
  // The destination says by the task's row that it is its own, whatever it was restored into.
  TOWLINE_RETURN_IF_ERROR(CheckIdentity(task, "source", task.source, source));
  auto refuse = [&task](std::string why) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat("task ", task.task, " cannot be healed: ", why)),
        StartAgainHint(task));
  };
  // Healed from there, the destination would lose all that was written since.
  if (source.timeline < task.source.timeline) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "task ", task.task, " cannot be healed: the source writes timeline ", source.timeline,
            ", and the task has followed timeline ", task.source.timeline,
            ": it is a server from before a failover or a restore")),
        "Let the URI of the source lead to the primary of now.");
  }
  if (task.phase < TaskState::kCatchingUp) return refuse("its copy was not complete");
  if (task.is_slot_on_standby) return refuse("its slot is on a standby of the source");
  if (!takes_foreign_origins) {
    return refuse(
        "with origin: none rows that are only at one side may be on their way to the other");
  }
  for (const auto& [table, rule] : rules) {
    if (rule.operations == RuleOperations()) continue;
    return refuse(absl::StrCat("the rule of ", QuoteQualified(table.schema, table.name),
                               " leaves operations out, so the two may rightly differ"));
  }
  for (const PieceRow& piece : pieces) {
    if (piece.existing != "append") continue;
    return refuse(
        absl::StrCat(QuoteQualified(piece.table.schema, piece.table.name),
                     " was copied with existing: append, so rows that the source lacks may be the "
                     "destination's own"));
  }
  if (slot.has_value() && (slot->plugin != kPluginName || slot->database != source.database)) {
    return WithHint(absl::FailedPreconditionError(
                        absl::StrCat("task ", task.task, " cannot be healed: its slot's name ",
                                     task.slot, " has been taken for something else")),
                    absl::StrCat("If nobody uses that: SELECT pg_drop_replication_slot('",
                                 task.slot, "'), then the same command again."));
  }
  return absl::OkStatus();
}

bool IsLeftSlot(const TaskRow& task, const std::string& database, const SlotInfo& slot) {
  return slot.plugin == kPluginName && slot.database == database && !slot.is_active &&
         task.position.is_valid() && slot.confirmed_flush_lsn == task.position;
}

std::vector<PieceRow> ChangedRules(const std::vector<PieceRow>& pieces,
                                   const std::vector<Table>& tables, const TableRules& rules) {
  std::vector<PieceRow> changed;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (tables[i].oid == 0) continue;
    std::string rule = RuleText(FindRule(rules, pieces[i].table, tables[i].ancestors));
    if (rule == pieces[i].rule) continue;
    changed.push_back(pieces[i]);
    changed.back().rule = std::move(rule);
  }
  return changed;
}

absl::Status CheckSharedKept(const TaskRow& task, const std::vector<PieceRow>& pieces,
                             const TableRules& rules) {
  for (const PieceRow& piece : pieces) {
    if (piece.state == "removed") continue;
    auto rule = rules.find(piece.table);
    const std::string now = rule == rules.end() ? "" : SharedText(RuleText(&rule->second));
    if (now == SharedText(piece.rule)) continue;
    return WithHint(
        absl::InvalidArgumentError(absl::StrCat(
            "shared of ", QuoteQualified(piece.table.schema, piece.table.name),
            " differs from that under which it was copied: other tasks' rows would be taken for "
            "this one's")),
        absl::StrCat("Put it back; or towline drop --task ", task.task,
                     " with both URIs, DELETE the rows with the value of then, no others, and run "
                     "it with the new one."));
  }
  return absl::OkStatus();
}

absl::Status RefuseRuleChange(const TaskRow& task, const std::vector<PieceRow>& changed) {
  constexpr size_t kNamedMax = 5;
  std::vector<std::string> names;
  for (size_t i = 0; i < std::min(changed.size(), kNamedMax); ++i) {
    names.push_back(QuoteQualified(changed[i].table.schema, changed[i].table.name));
  }
  std::string more =
      changed.size() > kNamedMax ? absl::StrCat(" and ", changed.size() - kNamedMax, " more") : "";
  return WithHint(
      absl::InvalidArgumentError(
          absl::StrCat("where, columns or operations of ", absl::StrJoin(names, ", "), more,
                       changed.size() == 1 ? " differ from those under which it was copied"
                                           : " differ from those under which they were copied")),
      absl::StrCat(
          "Put them back; or run with --accept-rule-change: the new ones count for changes "
          "from here on, rows already copied are not looked at again. ",
          StartAgainHint(task)));
}

std::vector<FailedTable> UnselectedPieces(const std::vector<PieceRow>& pieces,
                                          const std::vector<ListedTable>& tables,
                                          bool follows_ddl) {
  std::map<TableName, const ListedTable*> by_name;
  std::map<Oid, const ListedTable*> by_oid;
  for (const ListedTable& table : tables) {
    by_name[table.name] = &table;
    by_oid[table.oid] = &table;
  }
  std::vector<FailedTable> left;
  for (const PieceRow& piece : pieces) {
    if (piece.state != "copied" && piece.state != "streamed") continue;
    auto found = by_name.find(piece.table);
    const ListedTable* table = found != by_name.end() ? found->second : nullptr;
    if (table == nullptr && !follows_ddl) {
      auto renamed = by_oid.find(piece.source_oid);
      if (renamed != by_oid.end()) table = renamed->second;
    }
    if (table == nullptr || table->is_selected) continue;
    if (follows_ddl && !table->is_excluded) continue;
    left.push_back({piece.table, piece.source_oid});
  }
  return left;
}

}  // namespace towline
