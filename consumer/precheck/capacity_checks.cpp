// Whether what is selected fits what the servers are set up for: locks, log, disk. Before the copy.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/format.h"
#include "base/lsn.h"
#include "precheck/check_context.h"
#include "schema/array_literal.h"

namespace towline {
namespace {

// The server sets aside room for so many locks; it has been seen to give out between 1.1 and 2
// times as many before it fails with 53200.
constexpr int64_t kLocksBeyondMax = 2;

constexpr char kWalKept[] = "capacity.wal_kept";
constexpr int kStatWalVersionMin = 140000;
// Tables and their indexes, a third of what two cores do at both ends (docs/performance.md): disks
// and networks are shared with others.
constexpr int64_t kAssumedBytesPerSecond = 20 << 20;
constexpr double kWalBytesMax = 1e18;

// The copy's snapshot session and each worker hold every selected table's lock, until all is
// copied.
void CheckLocks(CheckContext& context) {
  constexpr char kId[] = "capacity.locks";
  constexpr char kSetting[] = "max_locks_per_transaction";
  const ServerFacts& facts = context.source_facts;
  const int64_t per_transaction = NumberOf(facts, kSetting);
  const int64_t transactions =
      NumberOf(facts, "max_connections") + NumberOf(facts, "max_prepared_transactions");
  const int64_t background = std::max(NumberOf(facts, "autovacuum_max_workers"),
                                      NumberOf(facts, "autovacuum_worker_slots")) +
                             NumberOf(facts, "max_worker_processes") +
                             NumberOf(facts, "max_wal_senders") + 1;
  if (per_transaction == 0 || transactions == 0) return;
  const auto tables = static_cast<int64_t>(context.tables.size());
  const int64_t sessions = 1 + context.options.copy_workers;
  const int64_t needed = tables * sessions;
  const int64_t room = per_transaction * transactions;
  std::string found =
      absl::StrCat("the copy locks ", Counted(context.tables.size(), "table"), " in ", sessions,
                   " sessions: ", needed, " locks, the source has room for ", room, " (", kSetting,
                   " is ", per_transaction, ")");
  if (needed <= room) {
    context.Pass(kId, found);
    return;
  }
  // A quarter for everybody else.
  const int64_t proposed = (needed + needed / 4) / transactions + 1;
  Mend mend = AlterSystem(facts, kSetting, absl::StrCat(std::max(proposed, per_transaction + 1)));
  if (needed > kLocksBeyondMax * per_transaction * (transactions + background)) {
    context.Fail(kId, found, mend);
  } else {
    context.Warn(kId, found, mend);
  }
}

// An index of a small table by the catalog's estimate: to look at thousands of files takes seconds.
std::optional<int64_t> IndexBytes(CheckContext& context) {
  constexpr int64_t kSmallTableBytes = 1 << 20;
  ArrayLiteral large;
  for (const Table& table : context.tables) {
    if (table.heap_bytes > kSmallTableBytes) large.Add(absl::StrCat(table.oid));
  }
  std::optional<Result> result = context.Ask(
      "capacity.disk_space", *context.source,
      "SELECT COALESCE(pg_catalog.sum(CASE WHEN l.oid IS NOT NULL "
      "THEN pg_catalog.pg_relation_size(i.indexrelid) "
      "ELSE c.relpages * pg_catalog.current_setting('block_size')::bigint END), 0)::bigint "
      "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
      "LEFT JOIN pg_catalog.unnest($2::oid[]) AS l(oid) ON l.oid = i.indrelid "
      "WHERE c.relkind = 'i' AND i.indrelid = ANY ($1::oid[])",
      {{OidsOf(context.tables), large.ToString()}});
  if (!result) return std::nullopt;
  return result->GetInt(0, 0);
}

// What room is free SQL does not tell, so the estimate is shown and no more.
void CheckDiskSpace(CheckContext& context, int64_t table_bytes, int64_t index_bytes) {
  context.Pass(
      "capacity.disk_space",
      absl::StrCat("the destination's disk takes about ", FormatBytes(table_bytes),
                   " of tables and ", FormatBytes(index_bytes),
                   " of indexes, and the log of writing them",
                   context.options.streams ? absl::StrCat("; the ", context.stream_side(),
                                                          "'s the log that is written until then")
                                           : ""));
}

// About how long the copy takes, in seconds, and why we think so.
struct CopyTime {
  int64_t seconds = 0;
  std::string because;  // "3 GB of tables and indexes at an assumed 20 MB/s"
};

CopyTime EstimateCopyTime(const CheckContext& context, int64_t bytes) {
  const CheckOptions& options = context.options;
  CopyTime time;
  int64_t rate = kAssumedBytesPerSecond;
  absl::string_view whence = " at an assumed ";
  if (options.copy_rate_max > 0 && options.copy_rate_max < rate) {
    rate = options.copy_rate_max;
    whence = " at copy_rate_max, ";
  }
  time.seconds = std::max<int64_t>(1, bytes / rate);
  time.because =
      absl::StrCat(FormatBytes(bytes), " of tables and indexes", whence, FormatBytes(rate), "/s");
  if (options.copy_rows_max == 0) return time;
  int64_t rows = 0;
  for (const Table& table : context.tables) rows += std::max<int64_t>(0, table.estimated_rows);
  if (rows / options.copy_rows_max <= time.seconds) return time;
  return {rows / options.copy_rows_max, absl::StrCat(FormatCount(rows), " rows at copy_rows_max, ",
                                                     FormatCount(options.copy_rows_max), "/s")};
}

struct WalRate {
  int64_t bytes_per_second = 0;
  std::string when;  // "on average of the last 3h10m"
};

// Of the source, also where a standby of it is streamed from: its log is the same.
std::optional<WalRate> MeasureWalRate(CheckContext& context) {
  if (context.source_facts.version >= kStatWalVersionMin) {
    std::optional<Result> sum =
        context.Ask(kWalKept, *context.source,
                    "SELECT wal_bytes::bigint, GREATEST(1, pg_catalog.date_part('epoch', "
                    "pg_catalog.clock_timestamp() - COALESCE(stats_reset, "
                    "pg_catalog.pg_postmaster_start_time())))::bigint FROM pg_catalog.pg_stat_wal");
    if (!sum) return std::nullopt;
    const int64_t seconds = sum->GetInt(0, 1);
    return WalRate{
        sum->GetInt(0, 0) / seconds,
        absl::StrCat("on average of the last ", towline::FormatDuration(absl::Seconds(seconds)))};
  }
  std::optional<Lsn> before;
  for (bool is_first : {true, false}) {
    std::optional<Result> now =
        context.Ask(kWalKept, *context.source, "SELECT pg_catalog.pg_current_wal_insert_lsn()");
    if (!now) return std::nullopt;
    const absl::StatusOr<Lsn> lsn = Lsn::Parse(now->Get(0, 0));
    if (!lsn.ok()) return std::nullopt;
    if (!is_first) return WalRate{static_cast<int64_t>(lsn->value - before->value), "just now"};
    before = *lsn;
    if (!context.shutdown.SleepFor(absl::Seconds(1))) return std::nullopt;
  }
  return std::nullopt;
}

// What the source writes until the stream has begun must not be more than the slot may keep. The
// limit must bear twice of it: an average has its peaks.
void CheckWalKept(CheckContext& context, int64_t bytes) {
  constexpr char kSetting[] = "max_slot_wal_keep_size";
  const ServerFacts& facts = context.stream_facts();
  if (facts.settings.count(kSetting) == 0 || facts.Value(kSetting) == "-1") return;
  const std::optional<WalRate> rate = MeasureWalRate(context);
  if (!rate) return;
  const CopyTime time = EstimateCopyTime(context, bytes);
  const int64_t kept_bytes = NumberOf(facts, kSetting) << 20;  // MB
  const double written =
      static_cast<double>(rate->bytes_per_second) * static_cast<double>(time.seconds);
  const auto needed_bytes = static_cast<int64_t>(std::min(2 * written, kWalBytesMax));
  std::string found =
      absl::StrCat(kSetting, " is ", FormatBytes(kept_bytes), "; the copy may take ",
                   towline::FormatDuration(absl::Seconds(time.seconds)), " (", time.because,
                   "), and the source writes ", FormatBytes(rate->bytes_per_second), "/s of log (",
                   rate->when, "), ", FormatBytes(needed_bytes / 2), " until then");
  if (kept_bytes >= needed_bytes) {
    context.Pass(kWalKept, found);
  } else {
    context.Warn(
        kWalKept,
        absl::StrCat(found, kept_bytes >= needed_bytes / 2 ? ", or more when it is busy" : "",
                     ": the slot could be lost before the stream begins"),
        AlterSystem(facts, kSetting, absl::StrCat((needed_bytes >> 20) + 1, "MB")));
  }
}

}  // namespace

void CheckCapacity(CheckContext& context) {
  if (!context.source || !context.options.is_first_start || context.tables.empty()) return;
  CheckLocks(context);
  std::optional<int64_t> index_bytes = IndexBytes(context);
  if (!index_bytes) return;
  int64_t table_bytes = 0;
  for (const Table& table : context.tables) table_bytes += table.total_bytes;
  CheckDiskSpace(context, table_bytes, *index_bytes);
  CheckWalKept(context, table_bytes + *index_bytes);
}

}  // namespace towline
