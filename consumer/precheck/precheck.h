// The checks without which `run` cannot work. All findings are collected, never only the first.
// `towline check`, `towline init` and the start of `run` call the same function.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/lsn.h"
#include "base/shutdown.h"
#include "config/config.h"
#include "config/existing_policy.h"
#include "pg/connect_options.h"
#include "precheck/finding.h"
#include "schema/catalog_reader.h"
#include "schema/extension_tables.h"

namespace towline {

struct CheckOptions {
  ConnectOptions source;
  std::optional<ConnectOptions> source_standby;  // where the slot is, if not at the source
  ConnectOptions destination;
  TableSelection selection;
  ExistingPolicy existing;
  std::map<TableName, bool> folds;
  std::set<TableName> ddl_tables;  // with a policy for schema changes of their own
  std::map<TableName, TableRule> rules;
  std::string task;  // empty: not known yet (checks about task and slot are left out)
  std::string slot;  // "towline_<task>"
  // stages: stream alone. The slot is there already, made by somebody else: its name (empty: the
  // task's) and the position from which it is to be read (invalid: where it stands).
  std::string given_slot;
  Lsn given_position;
  // True before the copy has begun: tables at the destination are compared, a slot of our name must
  // not exist. False: the task has a copy; the slot must exist.
  bool is_first_start = true;
  // Find out task (if it is empty), slot and is_first_start as `run` would; what is above then
  // counts only where the servers cannot be asked.
  bool finds_task = false;
  // Stages: findings that concern others only are left out.
  bool copies_schema = true;  // pg_dump is needed
  bool copies_rows = true;
  bool streams = true;
  bool is_stream_alone() const { return streams && !copies_rows; }
  bool copies_large_objects = false;
  bool copies_extension_tables = false;
  ExtensionRows extension_rows;  // of the selected ones; empty: found out
  std::string pg_dump;           // as the configuration names it; empty: found
  int copy_workers = 2;
  int64_t copy_rate_max = 0;  // bytes/s; 0: none
  int64_t copy_rows_max = 0;  // rows/s
  bool gives_way = false;     // the copy, to other sessions or standbys of the source
  int index_workers = 2;
  bool two_phase = false;
  bool wants_failover = false;      // standbys keep the slot
  bool ddl = false;                 // schema changes are taken from the source
  std::set<std::string> ddl_roles;  // that they are run as; none: ours
  bool ddl_on_tables = false;  // and those of tables are run, at once or when they are approved
  std::string compression = "none";
  bool requires_origin = false;     // origin: none
  bool streaming = true;            // of transactions in progress
  std::vector<std::string> accept;  // checks whose warnings, and some whose failures, are accepted
  // The role that `run` will connect as, if another than the URIs' (init --role).
  std::string role;
};

// Opens its own sessions. Never fails: what goes wrong is a finding.
CheckReport RunChecks(const CheckOptions& options, const Shutdown& shutdown);

// What concerns the rules of these tables, at the source only: for rules that have changed since
// the tables were copied. `options` needs source, rules, extension_rows and accept.
CheckReport RunRuleChecks(const CheckOptions& options, const std::vector<Table>& tables,
                          const Shutdown& shutdown);

}  // namespace towline
