// What the user asked for: flags over environment over YAML over defaults, checked. Stages never
// see this struct; each gets a small options struct of its own (run/ translates).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/log.h"
#include "base/lsn.h"
#include "model/conflict_policy.h"
#include "model/ddl_policy.h"
#include "model/ddl_roles.h"
#include "model/name.h"
#include "model/table_rule.h"
#include "pg/connect_options.h"

namespace towline {

// What to do with a destination table that already exists (DESIGN 4).
// What becomes of a table that fails for good.
enum class FailedTables : uint8_t { kStop, kPark };

enum class ExistingTables { kStop, kAppend, kTruncate };

// What a run does, in this order. Not every combination makes sense (schema_options.cpp).
struct Stages {
  bool schema = true;  // the source's schema is made at the destination
  bool copy = true;    // rows are copied
  bool stream = true;  // changes follow; without it a run ends, and makes no slot

  bool is_stream_alone() const { return stream && !copy; }
};

// Whether large objects are copied; auto: if no tables are selected by name.
enum class LargeObjects { kAuto, kOn, kOff };

// Every bound of ours, by the name it has in YAML (limits: {...}), in --help and in the log line
// that `run` prints at start.
struct Limits {
  int64_t queue_bytes_max = 64 << 20;  // received frames that wait for the applier
  int64_t batch_bytes_max = 16 << 20;  // frames of one destination transaction; a larger
                                       // source transaction passes in parts of this size
  int64_t batch_rows_max = 50'000;
  int64_t set_rows_min = 8;
  int64_t statement_bytes_max = 64 << 20;  // of a change in one statement; a larger one: in steps
  int64_t spool_memory_max = 64 << 20;     // bytes of transactions in progress; beyond: on disk
  int64_t spool_disk_max = 0;              // 0: what the file system holds
  absl::Duration batch_time_max = absl::Milliseconds(500);  // gathering, while frames keep coming
  absl::Duration durable_interval_max = absl::Seconds(1);   // I2: between synchronous commits
  absl::Duration status_interval = absl::Seconds(10);       // B8: status updates to the source
  absl::Duration snapshot_wait_max = absl::Minutes(10);     // A15: slot creation, marker
  absl::Duration slot_busy_wait_max = absl::Seconds(90);    // B9: slot still held by a predecessor
  int copy_workers = 2;
  int64_t copy_part_bytes = int64_t{256} << 20;  // tables above it are copied in ranges
  int index_workers = 2;
  int64_t index_memory = 0;            // maintenance_work_mem of each; 0: the server's, or 256 MiB
  int64_t copy_rate_max = 0;           // bytes/s of all workers together; 0: none
  int64_t copy_rows_max = 0;           // rows/s
  int64_t copy_active_max = 0;         // sessions at work at the source; 0: none
  absl::Duration copy_lag_max;         // of the source's standbys; zero: none
  absl::Duration ddl_hold_max;         // that a held schema change is waited for; zero: not at all
  int64_t conflict_rows_max = 10'000;  // of towline_state.conflict, per task
};

// Whether standbys may take the slot along (17 and later).
enum class FailoverSlot {
  kAuto,  // where that can be had
  kOn,
  kOff,
};

struct Config {
  std::string task;  // empty: derived from both databases' identities
  ConnectOptions source;
  ConnectOptions destination;
  ConnectOptions source_standby;  // a standby of the source, where the slot is
  bool has_source_standby = false;
  bool has_source = false;  // commands such as status and drop do with one of them
  bool has_destination = false;
  std::vector<std::string> include;  // psql patterns; empty: every table
  std::vector<std::string> exclude;
  ExistingTables existing = ExistingTables::kStop;
  std::map<TableName, ExistingTables> existing_by_table;
  std::map<TableName, bool> folds;  // fold of single tables
  FailedTables on_failure = FailedTables::kStop;
  std::map<TableName, FailedTables> on_failure_by_table;
  ConflictPolicies conflicts;  // what is done with changes that the destination refuses
  Stages stages;
  std::string stages_option;  // that gave them: stages, or schema for short
  std::string slot;           // stages: stream; the slot that is there, empty: of the task's name
  Lsn position;               // all before it is at the destination; invalid: the slot's
  bool with_owners = false;   // objects get the owners that they have at the source
  bool with_privileges = false;  // GRANT and default privileges come along
  LargeObjects large_objects = LargeObjects::kAuto;
  bool copies_extension_tables = false;  // what users have added to them
  std::string pg_dump;                   // the program; empty: found
  bool streaming = true;                 // transactions in progress are taken from the source
  std::string copy_planner = "auto";     // ranges of large tables: keys, ctid, auto
  std::string spool_directory;  // where they wait when memory does not hold them; empty: $TMPDIR
  std::string compression = "none";  // of the stream: none, lz4, zstd
  FailedTables on_ddl_error = FailedTables::kStop;
  DdlPolicy ddl;  // what is done with schema changes
  DdlRoles ddl_roles;
  FailoverSlot failover = FailoverSlot::kAuto;
  bool two_phase = false;                // PREPARE TRANSACTION is repeated at the destination
  bool foreign_origins = true;           // also what the source itself got by replication
  std::map<TableName, TableRule> rules;  // of tables that have one
  // Found at the source: of the selected tables of extensions the condition for users' rows, which
  // their rules hold as well (schema/extension_tables.h).
  std::map<TableName, std::string> extension_rows;
  std::vector<std::string> accept;   // checks whose warnings are known and wanted
  bool accepts_rule_change = false;  // run --accept-rule-change: for this start
  bool heals = false;                // run --heal: until the task has gone on once
  absl::Duration retry_connection = absl::Minutes(720);  // 10 to 1440 minutes
  absl::Duration retry_other = absl::Minutes(10);        // 1 to 1440, below retry_connection
  Limits limits;
  LogFormat log_format = LogFormat::kText;
  LogLevel log_level = LogLevel::kInfo;
  int metrics_port = 0;  // 0: none; TCP on 127.0.0.1

  // The server whose log is decoded; everything else is asked of the source.
  const ConnectOptions& StreamServer() const {
    return has_source_standby ? source_standby : source;
  }
  bool CopiesLargeObjects() const {
    return large_objects == LargeObjects::kOn ||
           (large_objects == LargeObjects::kAuto && include.empty());
  }
};

}  // namespace towline
