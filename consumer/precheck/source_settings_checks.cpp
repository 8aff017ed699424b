// The settings and limits of the source, and of the server that is streamed from.
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "pg/quoting.h"
#include "precheck/check_context.h"

namespace towline {
namespace {

// From 19 on the server switches logical decoding on by itself when a slot is made.
constexpr int kVersionOfAutomaticLogical = 190000;
// What a limit that is reached is raised by: enough that the next task does not need a restart.
constexpr int64_t kMoreSlots = 10;
// Proposed where there is no limit; the reader is told to choose by his disk.
constexpr char kProposedWalKept[] = "50GB";

int64_t Number(const ServerFacts& facts, const std::string& name) {
  int64_t value = 0;
  return absl::SimpleAtoi(facts.Value(name), &value) ? value : 0;
}

std::string IsText(const ServerFacts& facts, const std::string& name) {
  auto setting = facts.settings.find(name);
  bool is_pending = setting != facts.settings.end() && setting->second.is_pending;
  return absl::StrCat(name, " is ", facts.Value(name),
                      is_pending ? " (changed, waits for a restart)" : "");
}

// A slot on a standby does not switch it on at the primary.
void CheckWalLevelOf(CheckContext& context, const ServerFacts& facts, bool is_automatic) {
  std::string level = facts.Value("wal_level");
  std::string found =
      absl::StrCat(facts.is_source_standby ? "the standby's " : "", IsText(facts, "wal_level"));
  if (level == "logical" || (level == "replica" && is_automatic)) {
    context.Pass("source.wal_level", found);
  } else {
    context.Fail("source.wal_level", found, AlterSystem(facts, "wal_level", "logical"));
  }
}

void CheckWalLevel(CheckContext& context) {
  bool has_standby = context.options.source_standby.has_value();
  bool may_be_automatic = context.source_facts.version >= kVersionOfAutomaticLogical;
  CheckWalLevelOf(context, context.source_facts, may_be_automatic && !has_standby);
  if (has_standby && context.standby) {
    CheckWalLevelOf(context, context.standby_facts, may_be_automatic);
  }
}

void CheckSlotsFree(CheckContext& context) {
  std::optional<Result> result =
      context.Ask("source.slots_free", *context.stream_server(),
                  "SELECT pg_catalog.count(*), "
                  "pg_catalog.count(*) FILTER (WHERE slot_name = NULLIF($1::text, '')), "
                  "COALESCE(pg_catalog.string_agg(slot_name, ', ' ORDER BY slot_name) "
                  "           FILTER (WHERE NOT active), '') "
                  "FROM pg_catalog.pg_replication_slots",
                  {{context.options.slot}});
  if (!result) return;
  int64_t used = result->GetInt(0, 0);
  int64_t max = Number(context.stream_facts(), "max_replication_slots");
  std::string found = absl::StrCat(used, " of ", max, " replication slots are in use");
  // While a slot is being made it is there twice (snapshot/slot.h).
  const int64_t needed = context.options.is_first_start ? 2 : 1;
  if (used + needed <= max || result->GetInt(0, 1) > 0) {
    context.Pass("source.slots_free", found);
    return;
  }
  std::string inactive = result->GetString(0, 2);
  if (!inactive.empty()) absl::StrAppend(&found, ", inactive: ", inactive);
  context.Fail("source.slots_free", found,
               AlterSystem(context.stream_facts(), "max_replication_slots",
                           absl::StrCat(used + kMoreSlots)));
}

void CheckSendersFree(CheckContext& context) {
  // A sender of our own slot gives way to us. pg_stat_replication shows every sender to every role.
  std::optional<Result> result = context.Ask(
      "source.senders_free", *context.stream_server(),
      "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication r WHERE NOT EXISTS "
      "(SELECT 1 FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid "
      "AND s.slot_name = $1)",
      {{context.options.slot}});
  if (!result) return;
  int64_t used = result->GetInt(0, 0);
  int64_t max = Number(context.stream_facts(), "max_wal_senders");
  std::string found = absl::StrCat(used, " of ", max, " walsenders are in use");
  if (used < max) {
    context.Pass("source.senders_free", found);
  } else {
    context.Fail(
        "source.senders_free", found,
        AlterSystem(context.stream_facts(), "max_wal_senders", absl::StrCat(used + kMoreSlots)));
  }
}

// The list with towline at its end. Each name in quotes of its own: the server would store
// 'a, b' as one name.
Mend AllowPlugin(const ServerFacts& facts, std::vector<std::string> libraries) {
  libraries.push_back("towline");
  for (std::string& library : libraries) library = QuoteLiteral(library);
  Mend mend = AlterSystem(facts, "output_plugin_libraries", "");
  mend.statement = absl::StrCat(
      "ALTER SYSTEM SET output_plugin_libraries = ", absl::StrJoin(libraries, ", "), ";");
  mend.needs = "reload";
  return mend;
}

// A role that may not read the setting finds out by using the plugin: a temporary slot is refused
// before it waits for anything, so a short timeout is an answer as well.
void ProbePlugin(CheckContext& context) {
  constexpr char kId[] = "source.output_plugin_libraries";
  const ServerFacts& facts = context.stream_facts();
  constexpr char kUnknown[] = "role may not read output_plugin_libraries";
  Mend let_read = {.statement =
                       absl::StrCat("GRANT pg_read_all_settings TO ", facts.QuotedRole(), ";")};
  if (!facts.has_replication || facts.Value("wal_level") != "logical") {
    context.Warn(kId, kUnknown, let_read);
    return;
  }
  std::string slot = absl::StrCat("towline_check_", context.stream_server()->backend_pid());
  context.stream_server()->Exec("SET statement_timeout = '3s'").status().IgnoreError();
  absl::Status made =
      context.stream_server()
          ->Query("SELECT pg_catalog.pg_create_logical_replication_slot($1, 'towline', true)",
                  {{slot}})
          .status();
  context.stream_server()->Exec("SET statement_timeout = 0").status().IgnoreError();
  if (made.ok()) {
    context.stream_server()
        ->Query("SELECT pg_catalog.pg_drop_replication_slot($1)", {{slot}})
        .status()
        .IgnoreError();
  }
  if (made.ok() || GetSqlState(made) == "57014") {
    context.Pass(kId, "a temporary slot with the plugin was accepted");
  } else if (absl::StrContains(made.message(), "may not be used as an output plugin")) {
    Mend mend = AllowPlugin(facts, {"pgoutput", "test_decoding"});
    mend.text =
        "This keeps the default list; if SHOW output_plugin_libraries, asked by a superuser, "
        "names others, keep those too.";
    context.Fail(kId, "the server refuses the plugin towline", mend);
  } else {
    context.Warn(kId, absl::StrCat(kUnknown, ", and a temporary slot failed: ", made.message()),
                 let_read);
  }
}

void CheckOutputPluginLibraries(CheckContext& context) {
  constexpr char kId[] = "source.output_plugin_libraries";
  const ServerFacts& facts = context.stream_facts();
  if (facts.settings.count("output_plugin_libraries") == 0) {
    std::optional<Result> sees_all =
        context.Ask(kId, *context.stream_server(),
                    "SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')");
    if (!sees_all) return;
    if (sees_all->GetBool(0, 0)) {
      context.Pass(kId, "this server does not restrict output plugins");
    } else if (facts.is_current_role) {
      ProbePlugin(context);
    }
    return;
  }
  std::vector<std::string> libraries;
  for (absl::string_view part : absl::StrSplit(facts.Value("output_plugin_libraries"), ',')) {
    part = absl::StripAsciiWhitespace(part);
    if (part.size() >= 2 && part.front() == '"' && part.back() == '"') {
      part = part.substr(1, part.size() - 2);
    }
    if (part == "towline") {
      context.Pass(kId, IsText(facts, "output_plugin_libraries"));
      return;
    }
    if (!part.empty()) libraries.emplace_back(part);
  }
  context.Fail(kId, IsText(facts, "output_plugin_libraries"), AllowPlugin(facts, libraries));
}

void CheckWalKept(CheckContext& context) {
  const ServerFacts& facts = context.stream_facts();
  std::string value = facts.Value("max_slot_wal_keep_size");
  if (value != "-1") {
    context.Pass("source.max_slot_wal_keep_size",
                 absl::StrCat("max_slot_wal_keep_size is ", value,
                              facts.settings.at("max_slot_wal_keep_size").unit));
    return;
  }
  Mend mend = AlterSystem(facts, "max_slot_wal_keep_size", kProposedWalKept);
  mend.text = "Choose the size by the disk's free space; a slot that needs more is lost.";
  context.Warn("source.max_slot_wal_keep_size", "max_slot_wal_keep_size is -1 (no limit)", mend);
}

void CheckOldSnapshotThreshold(CheckContext& context) {
  const ServerFacts& facts = context.source_facts;
  if (facts.settings.count("old_snapshot_threshold") == 0) return;  // gone since 17
  if (facts.Value("old_snapshot_threshold") == "-1") {
    context.Pass("source.old_snapshot_threshold", IsText(facts, "old_snapshot_threshold"));
  } else {
    context.Fail("source.old_snapshot_threshold", IsText(facts, "old_snapshot_threshold"),
                 AlterSystem(facts, "old_snapshot_threshold", "-1"));
  }
}

// What a server was built with is told to everybody only by the values that settings may take: lz4
// by default_toast_compression (14), both by wal_compression (15, before a switch).
void CheckCompression(CheckContext& context) {
  constexpr char kId[] = "source.compression";
  const std::string& method = context.options.compression;
  if (method == "none") return;
  constexpr int kVersionOfWalCompression = 150000;
  std::string setting = context.stream_facts().version >= kVersionOfWalCompression
                            ? "wal_compression"
                            : "default_toast_compression";
  std::optional<Result> result =
      context.Ask(kId, *context.stream_server(),
                  "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_settings WHERE name = $1 "
                  "AND $2 = ANY (enumvals))",
                  {{setting, method}});
  if (!result) return;
  if (result->GetBool(0, 0)) {
    context.Pass(kId, absl::StrCat("the server is built with ", method));
  } else {
    context.Fail(kId, absl::StrCat("compression is ", method, ", the server is built without it"),
                 {});
  }
}

}  // namespace

void CheckSourceSettings(CheckContext& context) {
  CheckWalLevel(context);
  CheckOldSnapshotThreshold(context);
  if (context.stream_server() == nullptr) return;
  CheckSlotsFree(context);
  CheckSendersFree(context);
  CheckOutputPluginLibraries(context);
  CheckWalKept(context);
  CheckCompression(context);
}

}  // namespace towline
