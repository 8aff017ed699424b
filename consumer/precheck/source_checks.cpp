// The source as a server: who it is, whether it lets us stream, what the start would wait for.
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/format.h"
#include "pg/quoting.h"
#include "pg/replication_connection.h"
#include "precheck/check_context.h"
#include "schema/pg_dump_program.h"

namespace towline {
namespace {

constexpr int kVersionMin = 130000;
// Before, a slot can be made so at its creation only, which is before the copy.
constexpr int kTwoPhaseVersionMin = 150000;
constexpr int kFailoverVersionMin = 170000;

// Transactions younger than this end by themselves while the start waits.
constexpr int64_t kLongTransactionSeconds = 60;

std::string VersionText(int version) {
  return absl::StrCat("version ", version / 10000, ".", version % 10000);
}

void CheckVersion(CheckContext& context) {
  int version = context.source_facts.version;
  if (version >= kVersionMin) {
    context.Pass("source.version", VersionText(version));
  } else {
    context.Fail("source.version", VersionText(version), {});
  }
}

void CheckIsPrimary(CheckContext& context) {
  if (context.source_facts.is_in_recovery) {
    context.Fail("source.is_primary", "the server is a standby", {});
  } else {
    context.Pass("source.is_primary", "the server is a primary");
  }
}

void CheckEncoding(CheckContext& context) {
  const std::string& encoding = context.source_facts.encoding;
  std::string found = absl::StrCat("the encoding is ", encoding);
  if (encoding == "UTF8") {
    context.Pass("source.encoding", found);
  } else if (encoding == "EUC_JP" || encoding == "EUC_TW") {
    // Found by converting every code there and back. All other encodings give back what they got.
    context.Warn("source.encoding",
                 absl::StrCat(found,
                              ", in which some characters have two codes: they travel as UTF-8, so "
                              "either code arrives as the character's usual one"),
                 {.text = "Nothing, unless programs tell the two codes apart."});
  } else if (encoding != "SQL_ASCII") {
    context.Pass("source.encoding", absl::StrCat(found, "; texts travel as UTF-8"));
  } else if (context.destination && context.destination_facts.encoding == "SQL_ASCII") {
    context.Warn("source.encoding", absl::StrCat(found, " on both sides"),
                 {.text = "Nothing, if the bytes mean the same to all that read the destination."});
  } else {
    context.Fail("source.encoding", found, {});
  }
}

void CheckReplicationRole(CheckContext& context) {
  const ServerFacts& facts = context.source_facts;
  std::string role = facts.QuotedRole();
  if (facts.has_replication) {
    context.Pass("source.replication_role", absl::StrCat("role ", role, " may replicate"));
  } else if (!facts.role_exists) {
    context.Fail("source.replication_role", absl::StrCat("there is no role ", role),
                 {.statement = absl::StrCat("CREATE ROLE ", role, " LOGIN REPLICATION;"),
                  .text = "Give it a password with psql's \\password."});
  } else {
    context.Fail("source.replication_role", absl::StrCat("role ", role, " has no REPLICATION"),
                 {.statement = absl::StrCat("ALTER ROLE ", role, " REPLICATION;")});
  }
}

// A new slot is read from behind a change of the catalogs of our own (docs/decisions/014).
void CheckTemporary(CheckContext& context) {
  constexpr char kId[] = "source.database_privileges";
  const ServerFacts& facts = context.source_facts;
  if (facts.version < kTemporaryVersionMin) return;
  const std::string role = facts.QuotedRole();
  if (facts.has_temporary) {
    context.Pass(kId, absl::StrCat("role ", role, " may make temporary tables"));
  } else {
    context.Warn(kId, absl::StrCat("role ", role, " may not make temporary tables"),
                 {.statement = absl::StrCat("GRANT TEMPORARY ON DATABASE ",
                                            QuoteIdentifier(facts.database), " TO ", role, ";")});
  }
}

// One connection as the stream will make it: limits, pg_hba.conf and TLS are asked by trying.
void CheckReplicationConnection(CheckContext& context) {
  if (context.stream_server() == nullptr) return;
  const ServerFacts& facts = context.stream_facts();
  if (!facts.has_replication || !facts.is_current_role) return;  // it would say the same again
  for (const Finding& finding : context.report.findings) {
    if (finding.id == "source.senders_free" && finding.level == FindingLevel::kFail) return;
  }
  absl::Status opened =
      ReplicationConnection::Open(
          context.options.source_standby ? *context.options.source_standby : context.options.source,
          "towline check", context.shutdown)
          .status();
  if (opened.ok()) {
    context.Pass("source.replication_connection", "a replication connection was opened");
  } else {
    context.FailBy("source.replication_connection", opened);
  }
}

void CheckPlugin(CheckContext& context) {
  if (context.stream_server() == nullptr) return;
  std::optional<Result> result = context.Ask(
      "source.plugin", *context.stream_server(),
      "SELECT default_version, installed_version FROM pg_catalog.pg_available_extensions "
      "WHERE name = 'towline'");
  if (!result) return;
  if (result->row_count() == 0) {
    int major = context.source_facts.version / 10000;
    context.Fail(
        "source.plugin",
        absl::StrCat("the plugin is not installed on the ", context.stream_side(), "'s host"),
        {.text = absl::StrCat("On that host: ./dev install PG_CONFIG=/path/to/pg_config of "
                              "version ",
                              major, ", or install its package.")});
    return;
  }
  std::string version = result->GetString(0, 0);
  std::string installed = result->GetString(0, 1);
  if (!installed.empty() && installed != version) {
    context.Warn("source.plugin",
                 absl::StrCat("the extension in this database has version ", installed,
                              ", its library ", version),
                 {.statement = "ALTER EXTENSION towline UPDATE;"});
    return;
  }
  context.Pass("source.plugin",
               absl::StrCat("version ", version, " is installed",
                            installed.empty() ? " (CREATE EXTENSION towline is needed only for "
                                                "towline.changes())"
                                              : ""));
}

// Only transactions with an xid are waited for. Their locks and whose they are may be read by every
// role; since when only where the role may see the session, else its backend_type is hidden too.
// The server's own processes have no role, and soon end.
constexpr char kTransactionsSql[] = R"sql(
SELECT p.gid, l.pid,
       EXTRACT(epoch FROM pg_catalog.clock_timestamp()
                          - COALESCE(p.prepared, a.xact_start))::bigint AS age,
       COALESCE(p.owner, a.usename, ''), COALESCE(a.state, ''),
       a.usesysid IS NOT NULL AND a.backend_type IS NULL
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = l.transactionid
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
ORDER BY age DESC NULLS LAST, l.pid
)sql";

// "pid 7 of app (idle in transaction) since 2h14m".
std::string DescribeTransaction(const Result& result, int row) {
  std::string who = result.IsNull(row, 0)
                        ? absl::StrCat("pid ", result.Get(row, 1))
                        : absl::StrCat("prepared transaction '", result.Get(row, 0), "'");
  absl::StrAppend(&who, " of ", result.Get(row, 3));
  if (!result.Get(row, 4).empty()) absl::StrAppend(&who, " (", result.Get(row, 4), ")");
  if (result.IsNull(row, 2)) return who;
  return absl::StrCat(who, " since ",
                      towline::FormatDuration(absl::Seconds(result.GetInt(row, 2))));
}

void CheckLongTransactions(CheckContext& context) {
  constexpr char kId[] = "source.long_transactions";
  if (!context.options.is_first_start) return;
  std::optional<Result> result = context.Ask(kId, *context.source, kTransactionsSql);
  if (!result) return;
  std::vector<std::string> old;
  std::set<std::string> hidden;  // a transaction holds a lock for each of its subtransactions too
  std::string first_end;
  for (int row = 0; row < result->row_count(); ++row) {
    if (result->GetBool(row, 5)) hidden.insert(DescribeTransaction(*result, row));
    if (result->IsNull(row, 2) || result->GetInt(row, 2) < kLongTransactionSeconds) continue;
    old.push_back(DescribeTransaction(*result, row));
    if (first_end.empty()) {
      first_end =
          result->IsNull(row, 0)
              ? absl::StrCat("SELECT pg_catalog.pg_terminate_backend(", result->Get(row, 1), ");")
              : absl::StrCat("ROLLBACK PREPARED '", result->Get(row, 0), "';");
    }
  }
  if (old.empty() && hidden.empty()) {
    context.Pass(kId, "no old transaction is open");
    return;
  }
  std::vector<std::string> found;
  Mend mend;
  // The statement is no mend to be executed unseen: it undoes somebody's work.
  if (!old.empty()) {
    found.push_back(absl::StrCat("open: ", ListNames(old)));
    mend.text = absl::StrCat("Let them end, or end them: ", first_end);
  }
  if (!hidden.empty()) {
    const std::string role = context.source_facts.QuotedRole();
    found.push_back(absl::StrCat("of unknown age, which role ", role,
                                 " may not see: ", ListNames({hidden.begin(), hidden.end()})));
    // Nor is this: it shows the role the sessions of the whole server.
    absl::StrAppend(&mend.text, mend.text.empty() ? "" : " ",
                    "To see the ages that are unknown: GRANT pg_read_all_stats TO ", role, ";");
  }
  context.Warn(kId, absl::StrJoin(found, "; "), std::move(mend));
}

void CheckTwoPhase(CheckContext& context) {
  if (!context.options.two_phase) return;
  if (context.source_facts.version < kTwoPhaseVersionMin) {
    context.Fail("source.two_phase",
                 absl::StrCat("two_phase is on, ", VersionText(context.source_facts.version)), {});
  } else {
    context.Pass("source.two_phase", "transactions can be sent at their PREPARE");
  }
}

// What the standbys themselves need cannot be seen from here, and is said.
void CheckFailoverSlots(CheckContext& context) {
  constexpr char kId[] = "source.failover_slots";
  if (!context.options.wants_failover || context.source_facts.version < kFailoverVersionMin) return;
  std::optional<Result> result = context.Ask(
      kId, *context.source,
      "SELECT pg_catalog.current_setting('synchronized_standby_slots'), "
      "(SELECT pg_catalog.string_agg(slot_name, ', ' ORDER BY slot_name) FROM "
      "pg_catalog.pg_replication_slots WHERE slot_type = 'physical' AND active AND NOT temporary)");
  if (!result) return;
  if (result->IsNull(0, 1)) {
    context.Pass(kId, "no standby follows by a slot of its own");
  } else if (result->Get(0, 0).empty()) {
    context.Warn(kId,
                 absl::StrCat("standbys follow by ", result->Get(0, 1),
                              ", and synchronized_standby_slots is empty: one that is promoted may "
                              "lack what the destination has"),
                 {.statement = absl::StrCat("ALTER SYSTEM SET synchronized_standby_slots = ",
                                            QuoteLiteral(result->Get(0, 1)), ";"),
                  .needs = "reload",
                  .text = "Those that may be promoted. Each needs sync_replication_slots = on, "
                          "hot_standby_feedback = on, primary_slot_name, and a dbname in "
                          "primary_conninfo."});
  } else {
    context.Pass(kId, absl::StrCat("the stream waits for ", result->Get(0, 0)));
  }
}

void CheckPgDump(CheckContext& context) {
  if (!context.options.is_first_start || !context.options.copies_schema) return;
  absl::StatusOr<std::string> program =
      FindPgDump(context.options.pg_dump, context.source_facts.version, context.shutdown);
  if (program.ok()) {
    context.Pass("source.pg_dump", *program);
  } else {
    context.FailBy("source.pg_dump", program.status());
  }
}

}  // namespace

void CheckSourceStream(CheckContext& context) { CheckReplicationConnection(context); }

void CheckSourceServer(CheckContext& context) {
  CheckVersion(context);
  CheckIsPrimary(context);
  CheckEncoding(context);
  CheckReplicationRole(context);
  CheckTemporary(context);
  CheckPlugin(context);
  CheckLongTransactions(context);
  CheckTwoPhase(context);
  CheckFailoverSlots(context);
  CheckPgDump(context);
}

}  // namespace towline
