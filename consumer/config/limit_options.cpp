// The options that bound something: how long is tried again, how much memory, disk and time are
// used.
#include "base/error.h"
#include "base/status_macros.h"
#include "config/option_parts.h"
#include "config/value_text.h"

namespace towline {
namespace {

constexpr char kRetry[] = "Retry";
constexpr char kLimits[] = "Limits";

OptionSpec RetryWindow(const char* path, const char* words, absl::Duration Config::*member,
                       int minutes_min, const char* help) {
  OptionSpec option = Named(path, words, kRetry);
  option.value_name = "MINUTES";
  option.default_text = absl::StrCat(absl::ToInt64Minutes(Config().*member));
  option.range = absl::StrCat(minutes_min, " to 1440");
  option.help = help;
  option.set = [member, minutes_min, range = option.range](Config& config,
                                                           const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(int64_t minutes, ParseCount(values[0]));
    if (minutes < minutes_min || minutes > 1440) return OutOfRange(range + " minutes");
    config.*member = absl::Minutes(minutes);
    return absl::OkStatus();
  };
  return option;
}

OptionSpec BytesLimit(const char* name, int64_t Limits::*member, int64_t min, int64_t max,
                      const char* help) {
  OptionSpec option = Named("", name, kLimits);
  option.path = absl::StrCat("limits.", name);
  option.value_name = "SIZE";
  option.default_text = BytesText(Limits().*member);
  option.range = absl::StrCat(BytesText(min), " to ", BytesText(max));
  option.help = help;
  option.set = [member, min, max, range = option.range](Config& config,
                                                        const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(int64_t bytes, ParseBytes(values[0]));
    if (bytes < min || bytes > max) return OutOfRange(range);
    config.limits.*member = bytes;
    return absl::OkStatus();
  };
  return option;
}

template <typename Integer>
OptionSpec CountLimit(const char* name, Integer Limits::*member, int64_t min, int64_t max,
                      const char* help) {
  OptionSpec option = Named("", name, kLimits);
  option.path = absl::StrCat("limits.", name);
  option.value_name = "N";
  option.default_text = absl::StrCat(Limits().*member);
  option.range = absl::StrCat(min, " to ", max);
  option.help = help;
  option.set = [member, min, max, range = option.range](Config& config,
                                                        const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(int64_t count, ParseCount(values[0]));
    if (count < min || count > max) return OutOfRange(range);
    config.limits.*member = static_cast<Integer>(count);
    return absl::OkStatus();
  };
  return option;
}

OptionSpec TimeLimit(const char* name, absl::Duration Limits::*member, absl::Duration min,
                     absl::Duration max, const char* help) {
  OptionSpec option = Named("", name, kLimits);
  option.path = absl::StrCat("limits.", name);
  option.value_name = "TIME";
  option.default_text = TimeText(Limits().*member);
  option.range = absl::StrCat(TimeText(min), " to ", TimeText(max));
  option.help = help;
  option.set = [member, min, max, range = option.range](Config& config,
                                                        const Values& values) -> absl::Status {
    TOWLINE_ASSIGN_OR_RETURN(absl::Duration time, ParseTime(values[0]));
    if (time < min || time > max) return OutOfRange(range);
    config.limits.*member = time;
    return absl::OkStatus();
  };
  return option;
}

void AddRetry(std::vector<OptionSpec>& table) {
  table.push_back(RetryWindow("retry.connection", "retry_connection", &Config::retry_connection, 10,
                              "How long a lost or refused connection is tried again, in minutes."));
  table.push_back(RetryWindow("retry.other", "retry_other", &Config::retry_other, 1,
                              "How long other errors are tried again, in minutes; below "
                              "retry.connection."));
}

void AddLimits(std::vector<OptionSpec>& table) {
  constexpr int64_t kKilo = 1 << 10;
  constexpr int64_t kGiga = 1 << 30;
  table.push_back(BytesLimit("queue_bytes_max", &Limits::queue_bytes_max, 64 * kKilo, 4 * kGiga,
                             "Received changes that wait in memory for the applier; above it the "
                             "source waits."));
  table.push_back(BytesLimit("batch_bytes_max", &Limits::batch_bytes_max, 4 * kKilo, kGiga,
                             "Changes of one destination transaction; a larger source transaction "
                             "passes through in parts of this size."));
  table.push_back(CountLimit("batch_rows_max", &Limits::batch_rows_max, 1, 10'000'000,
                             "Row changes of one destination transaction."));
  table.push_back(CountLimit("set_rows_min", &Limits::set_rows_min, 2, 1'000'000,
                             "From how many rows of one table on deletes, updates and inserts of a "
                             "batch go as sets, in one statement; below, each row in its own."));
  table.push_back(BytesLimit("statement_bytes_max", &Limits::statement_bytes_max, 16 * kKilo,
                             kGiga / 2,
                             "Values of one statement at the destination; of a larger change the "
                             "large values go there one by one, then the statement."));
  table.push_back(BytesLimit("spool_memory_max", &Limits::spool_memory_max, 64 * kKilo, 4 * kGiga,
                             "Transactions in progress that are kept in memory, all together; "
                             "beyond it they go to files in spool_directory."));
  table.push_back(BytesLimit("spool_disk_max", &Limits::spool_disk_max, 0, 64 * 1024 * kGiga,
                             "Those files, all together; 0: what the file system holds. When it "
                             "is reached the task stops as for a full disk and tries again."));
  table.push_back(TimeLimit("batch_time_max", &Limits::batch_time_max, absl::Milliseconds(1),
                            absl::Minutes(1),
                            "How long changes are gathered for one destination transaction while "
                            "more keep coming; nothing waits when the source is idle."));
  table.push_back(
      TimeLimit("durable_interval_max", &Limits::durable_interval_max, absl::Milliseconds(10),
                absl::Minutes(1),
                "Longest time between two commits that wait for the destination's disk; "
                "only what such a commit covers is acknowledged to the source."));
  table.push_back(TimeLimit("status_interval", &Limits::status_interval, absl::Seconds(1),
                            absl::Seconds(30),
                            "How often the source hears of us; keep it well below its "
                            "wal_sender_timeout."));
  table.push_back(TimeLimit("snapshot_wait_max", &Limits::snapshot_wait_max, absl::Seconds(1),
                            absl::Hours(24),
                            "How long the start waits for older transactions of the source to "
                            "end."));
  table.push_back(TimeLimit("slot_busy_wait_max", &Limits::slot_busy_wait_max, absl::Seconds(1),
                            absl::Hours(1),
                            "How long to wait for a predecessor that still holds the slot."));
  table.push_back(CountLimit("copy_workers", &Limits::copy_workers, 1, 64,
                             "Tables, or parts of tables, that are copied at the same time; each "
                             "takes a connection at either end."));
  table.push_back(BytesLimit("copy_part_bytes", &Limits::copy_part_bytes, 8 * kKilo, 1024 * kGiga,
                             "Larger tables are copied in parts of this size."));
  table.push_back(
      CountLimit("index_workers", &Limits::index_workers, 1, 64,
                 "Indexes and constraints that are built at the same time, the largest "
                 "tables' first; each takes a connection at the destination, and the "
                 "server may add workers of its own (max_parallel_maintenance_workers)."));
  table.push_back(BytesLimit("index_memory", &Limits::index_memory, 0, 64 * kGiga,
                             "maintenance_work_mem of each of those; 0: the server's setting, or "
                             "256MB where that is smaller."));
  table.push_back(BytesLimit("copy_rate_max", &Limits::copy_rate_max, 0, 1024 * kGiga,
                             "Bytes that the copy may read in a second, all workers together; 0: "
                             "no limit. A running copy takes another by towline set."));
  table.push_back(CountLimit("copy_rows_max", &Limits::copy_rows_max, 0, 1'000'000'000,
                             "Rows that the copy may read in a second, in the same way."));
  table.push_back(CountLimit(
      "copy_active_max", &Limits::copy_active_max, 0, 100'000,
      "The copy gives way while more sessions of others than this are at work at the source (state "
      "active in pg_stat_activity, all databases): half its speed, and half of that again every 3 "
      "seconds, down to a sixteenth; when it is better twice that every 10 seconds. 0: it does not "
      "look. Needs pg_read_all_stats there. A running copy takes another by towline set."));
  table.push_back(TimeLimit(
      "copy_lag_max", &Limits::copy_lag_max, absl::ZeroDuration(), absl::Hours(1),
      "The same while a standby of the source is further behind than this (replay_lag in "
      "pg_stat_replication). Not for one that is behind on purpose (recovery_min_apply_delay)."));
  table.push_back(TimeLimit(
      "ddl_hold_max", &Limits::ddl_hold_max, absl::ZeroDuration(), absl::Hours(24 * 30),
      "How long a schema change that ddl says hold for is waited for, the stream standing still, "
      "until towline ddl approve or skip; after that its tables are parked and the others go on. "
      "0: the task ends at once, with status 4."));
  table.push_back(CountLimit("conflict_rows_max", &Limits::conflict_rows_max, 0, 10'000'000,
                             "Rows kept of this task in towline_state.conflict."));
}

}  // namespace

void AddLimitOptions(std::vector<OptionSpec>& table) {
  AddRetry(table);
  AddLimits(table);
}

}  // namespace towline
