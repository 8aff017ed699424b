// Limits of the source that streaming and the copy meet, and what its plugin can do.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "precheck/check_context.h"
#include "schema/ddl_capture.h"

namespace towline {
namespace {

constexpr int64_t kSenderTimeoutMsMin = 5000;  // a consumer that swaps, or a network that stutters
constexpr int64_t kDecodingMemoryKbMin = 4 << 10;
constexpr int64_t kDecodingMemoryKbMax = 1 << 20;
// Besides the copy's workers: checks, snapshot, pg_dump, slot and stream, and one to spare.
constexpr int64_t kOtherSessions = 5;

// "0.2" and later speak version 2 of the protocol and know rules of tables; "0.3" captures DDL.
bool IsPluginOf(absl::string_view version, int minor_min) {
  std::vector<absl::string_view> parts = absl::StrSplit(version, '.');
  int major = 0;
  int minor = 0;
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &major) ||
      !absl::SimpleAtoi(parts[1], &minor)) {
    return true;  // not a version that we gave out; the plugin itself will say
  }
  return major > 0 || minor >= minor_min;
}

// What an older plugin refuses at START_REPLICATION, which is after the copy.
void CheckPluginVersion(CheckContext& context) {
  constexpr char kId[] = "source.plugin_version";
  std::optional<Result> result = context.Ask(kId, *context.stream_server(),
                                             "SELECT default_version FROM "
                                             "pg_catalog.pg_available_extensions WHERE name = "
                                             "'towline'");
  if (!result || result->row_count() == 0) return;  // source.plugin says it
  std::string version = result->GetString(0, 0);
  const CheckOptions& options = context.options;
  std::vector<std::string> refused;
  std::vector<std::string> unused;
  if (options.ddl && !IsPluginOf(version, 3)) refused.push_back("ddl");
  if (!IsPluginOf(version, 2)) {
    if (!options.rules.empty()) refused.push_back("where, columns and operations of tables");
    if (options.two_phase) refused.push_back("two_phase: on");
    if (options.compression != "none") unused.push_back("compression");
    if (options.streaming) unused.push_back("streaming");
  }
  Mend mend = {.text =
                   "Install the plugin of this release on the source's host (./dev install "
                   "there, or the package); where the extension is created, ALTER EXTENSION "
                   "towline UPDATE."};
  std::string found = absl::StrCat("the plugin has version ", version);
  if (!refused.empty()) {
    context.Fail(kId, absl::StrCat(found, ", too old for ", absl::StrJoin(refused, " and ")), mend);
  } else if (!unused.empty()) {
    context.Warn(kId, absl::StrCat(found, ", which goes without ", absl::StrJoin(unused, " and ")),
                 mend);
  } else {
    context.Pass(kId, absl::StrCat(found, ", which can all that is configured"));
  }
}

void CheckDdlCapture(CheckContext& context) {
  constexpr char kId[] = "source.ddl_capture";
  if (!context.options.ddl) return;
  std::optional<Result> result = context.Ask(kId, *context.source, kIsDdlCapturedSql);
  if (!result) return;
  if (result->GetBool(0, 0)) {
    context.Pass(kId, "schema changes are captured");
  } else {
    context.Fail(kId, "ddl is on, and the source does not capture its schema changes",
                 {.statement = "CREATE EXTENSION IF NOT EXISTS towline;\n"
                               "ALTER EXTENSION towline UPDATE;\n"
                               "SELECT towline.enable_ddl();"});
  }
}

void CheckSenderTimeout(CheckContext& context) {
  constexpr char kId[] = "source.wal_sender_timeout";
  constexpr char kSetting[] = "wal_sender_timeout";
  const ServerFacts& facts = context.stream_facts();
  const int64_t timeout_ms = NumberOf(facts, kSetting);
  Mend mend = AlterSystem(facts, kSetting, "60s");
  if (timeout_ms == 0) {
    context.Warn(kId, "wal_sender_timeout is 0: the source never notices that we are gone", mend);
  } else if (timeout_ms < kSenderTimeoutMsMin) {
    context.Warn(kId, absl::StrCat("wal_sender_timeout is ", timeout_ms, "ms"), mend);
  } else {
    context.Pass(kId, absl::StrCat("wal_sender_timeout is ", timeout_ms,
                                   "ms; it need not outlast the copy, during which the source is "
                                   "answered as ever"));
  }
}

void CheckDecodingMemory(CheckContext& context) {
  constexpr char kId[] = "source.logical_decoding_work_mem";
  constexpr char kSetting[] = "logical_decoding_work_mem";
  const ServerFacts& facts = context.stream_facts();
  const int64_t kb = NumberOf(facts, kSetting);
  std::string found = absl::StrCat(kSetting, " is ", kb, "kB");
  if (kb < kDecodingMemoryKbMin || kb > kDecodingMemoryKbMax) {
    context.Warn(kId, found, AlterSystem(facts, kSetting, "64MB"));
  } else {
    context.Pass(kId, found);
  }
}

void CheckConnectionsFree(CheckContext& context) {
  constexpr char kId[] = "source.connections_free";
  if (!context.options.is_first_start) return;
  const ServerFacts& facts = context.source_facts;
  const std::optional<int64_t> used = CountClients(context, kId, *context.source);
  if (!used) return;
  const int64_t all = NumberOf(facts, "max_connections");
  int64_t max = all;
  if (!facts.is_superuser) {
    max -=
        NumberOf(facts, "superuser_reserved_connections") + NumberOf(facts, "reserved_connections");
  }
  const int64_t needed = context.options.copy_workers + kOtherSessions;
  std::string found =
      absl::StrCat(*used, " of ", max, " connections are in use, towline needs up to ", needed);
  if (*used + needed <= max) {
    context.Pass(kId, found);
  } else {
    context.Warn(
        kId, found,
        AlterSystem(facts, "max_connections", absl::StrCat(all + std::max<int64_t>(needed, 20))));
  }
}

// Of the role that `run` uses.
void CheckActivity(CheckContext& context) {
  constexpr char kId[] = "source.activity";
  if (!context.options.gives_way) return;
  const ServerFacts& facts = context.source_facts;
  std::optional<Result> result = context.Ask(
      kId, *context.source,
      "SELECT pg_catalog.pg_has_role(oid, 'pg_read_all_stats', 'USAGE') FROM pg_catalog.pg_roles "
      "WHERE rolname = $1",
      {{facts.role}});
  if (!result || result->row_count() == 0) return;  // the role is not there: another check's
  if (result->GetBool(0, 0)) {
    context.Pass(kId, "the role sees what other sessions do");
  } else {
    context.Warn(
        kId,
        "copy_active_max or copy_lag_max is set, and the role may not see what other "
        "sessions do: the copy would never give way",
        {.statement = absl::StrCat("GRANT pg_read_all_stats TO ", facts.QuotedRole(), ";")});
  }
}

}  // namespace

void CheckSourceLimits(CheckContext& context) {
  CheckDdlCapture(context);
  CheckConnectionsFree(context);
  CheckActivity(context);
  if (context.stream_server() == nullptr) return;
  CheckPluginVersion(context);
  CheckSenderTimeout(context);
  CheckDecodingMemory(context);
}

}  // namespace towline
