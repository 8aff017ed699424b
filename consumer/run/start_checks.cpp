#include "run/start_checks.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"

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

absl::Status CheckLeftSlot(const TaskRow& task, const std::string& database, const SlotInfo& slot) {
  if (slot.plugin == kPluginName && slot.database == database) return absl::OkStatus();
  return WithHint(
      absl::FailedPreconditionError(absl::StrCat("a slot ", task.slot, " of plugin ", slot.plugin,
                                                 " in database \"", slot.database,
                                                 "\" stands in the way")),
      absl::StrCat("If nothing uses it: SELECT pg_drop_replication_slot('", task.slot, "');"));
}

}  // namespace towline
