#include "run/start_checks.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

}  // namespace

absl::Status CheckIdentities(const TaskRow& task, const ServerIdentity& source,
                             const ServerIdentity& destination) {
  TOWLINE_RETURN_IF_ERROR(CheckIdentity(task, "source", task.source, source));
  TOWLINE_RETURN_IF_ERROR(CheckIdentity(task, "destination", task.destination, destination));
  if (task.source.timeline == source.timeline) return absl::OkStatus();
  return WithHint(
      WithDetail(
          absl::DataLossError("the source was failed over or restored since the task began"),
          absl::StrCat("It wrote timeline ", task.source.timeline, " and writes ", source.timeline,
                       " now. Changes that were applied may be missing "
                       "there, and the other way round.")),
      StartAgainHint(task));
}

absl::Status CheckSlot(const TaskRow& task, const std::string& database,
                       const std::optional<SlotInfo>& slot) {
  if (!slot.has_value()) {
    return WithHint(absl::DataLossError(absl::StrCat("the slot ", task.slot,
                                                     " is gone from the source: changes since ",
                                                     task.position.ToString(), " are lost to us")),
                    StartAgainHint(task));
  }
  if (slot->plugin != kPluginName || slot->database != database) {
    return WithHint(
        WithDetail(
            absl::DataLossError(absl::StrCat("the slot ", task.slot, " is not the task's")),
            absl::StrCat("It belongs to plugin ", slot->plugin, " in database \"", slot->database,
                         "\"; expected ", kPluginName, " in \"", database, "\".")),
        StartAgainHint(task));
  }
  if (slot->wal_status == "lost") {
    return WithHint(absl::DataLossError(absl::StrCat("the slot ", task.slot,
                                                     " is lost: the source removed the "
                                                     "log it needs (max_slot_wal_keep_size)")),
                    StartAgainHint(task));
  }
  if (slot->confirmed_flush_lsn > task.position) {
    return WithHint(
        WithDetail(
            absl::DataLossError(absl::StrCat("the destination is older than the slot ", task.slot,
                                             ": changes between the two are lost to us")),
            absl::StrCat("The destination holds all before ", task.position.ToString(),
                         ", the slot begins at ", slot->confirmed_flush_lsn.ToString(),
                         ". The destination was restored or failed over, or the slot was "
                         "made again or moved by somebody else.")),
        StartAgainHint(task));
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

}  // namespace towline
