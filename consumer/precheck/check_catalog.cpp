#include "precheck/check_catalog.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace towline {

const std::vector<CheckInfo>& CheckCatalog() {
  static const auto* catalog = new std::vector<CheckInfo>{
      {"source.connection", "fail", "Nothing can be read from a server that does not let us in.",
       "Correct host, port, user, password or pg_hba.conf; the finding says which."},
      {"source.version", "fail", "The plugin and the checks know PostgreSQL 13 and later.",
       "Upgrade the source to version 13 or later."},
      {"source.is_primary", "fail",
       "A copy needs transaction ids and snapshots that a standby does not have.",
       "Give the primary's address as source; a standby to stream from is named by "
       "source_standby."},
      {"source.encoding", "fail, warn",
       "Text travels as UTF-8; a database in SQL_ASCII does not say what its bytes mean, and some "
       "encodings have two codes for a character.",
       "Use a destination in SQL_ASCII as well, or convert the source first."},
      {"source.wal_level", "fail",
       "The write-ahead log holds row changes in readable form only at wal_level = logical.",
       "ALTER SYSTEM SET wal_level = 'logical'; and restart the source."},
      {"source.slots_free", "fail",
       "The task needs one replication slot, and a second one for a moment when it is made.",
       "ALTER SYSTEM SET max_replication_slots and restart, or drop a slot nobody uses."},
      {"source.senders_free", "fail", "Streaming needs one walsender.",
       "ALTER SYSTEM SET max_wal_senders and restart, or end a sender nobody uses."},
      {"source.plugin", "fail", "The source decodes its log by the output plugin towline.",
       "Install the plugin on the source's host (./dev install there, or the package)."},
      {"source.output_plugin_libraries", "fail",
       "Servers of late 2026 load only the output plugins that this setting lists; setting it "
       "replaces the default list.",
       "ALTER SYSTEM SET output_plugin_libraries to the present list and 'towline', each name in "
       "quotes of its own; then reload."},
      {"source.replication_role", "fail", "Only a role with REPLICATION may stream.",
       "ALTER ROLE ... REPLICATION;"},
      {"source.database_privileges", "warn",
       "A new slot of 14 or later may miss a column that is added while the slot is made. A "
       "temporary table, made and dropped behind the slot, rules that out.",
       "GRANT TEMPORARY ON DATABASE ... TO ...;"},
      {"source.replication_connection", "fail",
       "Streaming uses a connection of its own kind, which limits and pg_hba.conf may refuse.",
       "As the server's message says; logical replication matches pg_hba.conf lines of the "
       "database "
       "itself, not those of \"replication\"."},
      {"source.max_slot_wal_keep_size", "warn",
       "While the consumer is away its slot keeps write-ahead log, without this limit until the "
       "source's disk is full.",
       "ALTER SYSTEM SET max_slot_wal_keep_size to what the disk can spare; then reload."},
      {"source.synchronous_standby_names", "fail",
       "A stream whose name is in that list, as every name is with *, is a synchronous standby: "
       "each commit of the source then waits until the destination has it, and while the copy "
       "runs the two may wait for each other for ever.",
       "ALTER SYSTEM SET synchronous_standby_names to the names of the standbys that are meant; "
       "then reload."},
      {"source.standby_connection", "fail",
       "The changes are to be read from a server that does not let us in.",
       "Correct source_standby, or pg_hba.conf there; the finding says which."},
      {"source.standby", "fail",
       "Positions and transaction ids of another log would mean other changes.",
       "Name a server of version 16 or later that follows the source, or leave source_standby "
       "out."},
      {"source.hot_standby_feedback", "fail, warn",
       "The primary removes rows of its catalogs that only the standby's slot needs, and the slot "
       "is lost, unless the standby tells it.",
       "ALTER SYSTEM SET hot_standby_feedback = 'on' at the standby, which should follow by a "
       "physical slot; then reload."},
      {"source.log_standby_snapshot", "warn",
       "The slot's creation on a standby waits until the primary logs its running transactions, "
       "up to three times: 15 s each, unless we may ask it to.",
       "GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO ... ; at the source."},
      {"source.old_snapshot_threshold", "fail",
       "The copy reads under one old snapshot, which this setting lets the server give up.",
       "ALTER SYSTEM SET old_snapshot_threshold = -1; and restart the source."},
      {"source.compression", "fail",
       "The source compresses with the libraries its server was built with: lz4 from 14, zstd from "
       "15 on, where its packager wanted them.",
       "Choose another compression, or none."},
      {"source.ddl_capture", "fail",
       "Schema changes come only from where the extension captures them; what happened before is "
       "not told later.",
       "CREATE EXTENSION towline; SELECT towline.enable_ddl(); at the source, as a superuser."},
      {"source.tables", "fail, warn", "The selection must name tables that exist.",
       "Correct tables.include and tables.exclude."},
      {"source.table_privileges", "fail", "The copy reads every selected table.",
       "GRANT USAGE ON SCHEMA and GRANT SELECT ON TABLE for what the finding lists."},
      {"source.sequence_privileges", "warn",
       "Values of sequences that cannot be read are left out.",
       "GRANT USAGE ON SCHEMA and GRANT SELECT ON SEQUENCE for what the finding lists."},
      {"source.row_security", "fail",
       "Row security would hide rows from the copy; the server refuses to read such a table "
       "instead.",
       "ALTER ROLE ... BYPASSRLS; or let the tables' owner copy."},
      {"source.replica_identity", "warn",
       "Updates and deletes of a table without key arrive without saying which row they mean, and "
       "stop the table.",
       "ALTER TABLE ... REPLICA IDENTITY FULL; or add a primary key."},
      {"source.unlogged_tables", "warn",
       "Changes of unlogged tables are not in the write-ahead log: they are created empty and not "
       "streamed.",
       "ALTER TABLE ... SET LOGGED; or leave them out by tables.exclude."},
      {"source.table_rules", "fail, warn",
       "An expression that does not fit its table, or that the plugin cannot evaluate safely, "
       "stops "
       "the copy or the stream.",
       "Correct where and columns of the table in the configuration; for the warning: CREATE "
       "EXTENSION towline, or ALTER EXTENSION towline UPDATE, so that the plugin can be asked. A "
       "rule that has changed since the copy is asked about as well; accept, if it is written "
       "for a table as it was in the log that is still to come."},
      {"source.table_rules_identity", "fail",
       "The old row of an update or delete holds the replica identity only: the key and what a "
       "filter looks at must be in it (where the plugin can be asked, source.table_rules says so).",
       "ALTER TABLE ... REPLICA IDENTITY FULL; or list the key's columns as they are."},
      {"source.table_rules_entering", "fail, warn",
       "An update that changes a key may bring a row into a filter, which then arrives whole; but "
       "a "
       "value that is stored out of line and did not change is not in the log, and stops the "
       "stream.",
       "ALTER TABLE ... REPLICA IDENTITY FULL; or accept, if such keys never change: it then is a "
       "warning, as it is for tables of extensions."},
      {"source.long_transactions", "warn",
       "The slot and the copy's snapshot wait until all older transactions have ended.",
       "End the transactions that the finding names, or wait for them. The age of other roles' is "
       "seen with: GRANT pg_read_all_stats TO ... ;"},
      {"source.two_phase", "fail",
       "From version 15 on a slot can be switched to sending transactions at their PREPARE after "
       "the "
       "copy.",
       "Set two_phase: off: prepared transactions then arrive at COMMIT PREPARED."},
      {"source.failover_slots", "warn",
       "From version 17 on the task goes on from a standby that is promoted, if that has kept the "
       "slot synchronised and has all that the destination has.",
       "Set synchronized_standby_slots, and at the standbys sync_replication_slots, "
       "hot_standby_feedback, primary_slot_name and a dbname in primary_conninfo; or failover: "
       "off."},
      {"source.pg_dump", "fail",
       "The schema is read by pg_dump, which refuses servers newer than itself.",
       "Install postgresql-client of the source's version where towline runs, or name a pg_dump in "
       "--pg-dump."},
      {"source.plugin_version", "fail, warn",
       "An older plugin refuses what it does not know when streaming begins, after the copy.",
       "Install the plugin of this release on the source's host, and ALTER EXTENSION towline "
       "UPDATE where the extension is created."},
      {"source.tls", "warn", "Rows and passwords could be read or changed on their way.",
       "Add sslmode=verify-full (or require) to the URI, and set ssl = on at the server."},
      {"source.wal_sender_timeout", "warn",
       "By it the source notices that we are gone, and lets the slot go; a very short one ends the "
       "stream at every pause of the network.",
       "ALTER SYSTEM SET wal_sender_timeout = '60s'; then reload."},
      {"source.logical_decoding_work_mem", "warn",
       "Each decoding keeps so much of transactions in memory: with little it writes to disk all "
       "the time, a lot may be more than the host has.",
       "ALTER SYSTEM SET logical_decoding_work_mem = '64MB'; then reload."},
      {"source.connections_free", "warn",
       "The copy opens one connection for each worker and a few more.",
       "ALTER SYSTEM SET max_connections and restart, or lower limits.copy_workers."},
      {"source.activity", "warn",
       "copy_active_max and copy_lag_max look at sessions and standbys of others, which the server "
       "shows to few; the copy would never give way.",
       "GRANT pg_read_all_stats TO ... ;"},
      {"source.other_relations", "warn",
       "Foreign and temporary tables have no rows in the log. Materialized views are refreshed "
       "once, after the copy.",
       "Nothing, if that is meant; else copy the rows by hand, or refresh the views in your own "
       "time. tables.exclude, or accept, ends the warning."},
      {"source.large_objects", "fail, warn",
       "Large objects (lo_*) are not in the logical log: they come with the initial copy "
       "(large_objects), under their own numbers, and what changes in them later does not follow.",
       "Let nothing write them from the copy to the switch; or leave them out by large_objects: "
       "off "
       "and copy them when nothing writes them any more: pg_dump --format=custom --data-only "
       "--blobs "
       "--exclude-table-data='*.*' SOURCE | pg_restore --data-only --dbname=DESTINATION. Better: "
       "keep such values in a column of type bytea."},
      {"source.extension_tables", "warn",
       "CREATE EXTENSION makes the tables of an extension at the destination, with rows of its "
       "own; "
       "what users have added comes only if it is asked for.",
       "extension_tables: on copies and streams them. Or bring them over by hand when the "
       "extension "
       "is there: pg_dump --data-only --table=NAME SOURCE | psql DESTINATION writes what the "
       "extension says is the users'."},
      {"source.event_triggers", "fail",
       "Event triggers come with the schema, and only a superuser may create one.",
       "Use a superuser at the destination, or drop them at the source."},
      {"source.name_case", "warn",
       "A name without double quotes means the table in lower case only, in patterns as in SQL.",
       "Nothing, if what is selected is meant; else write the other name in double quotes in "
       "tables.include or tables.exclude."},
      {"source.hypertables", "fail",
       "A hypertable's chunks are known to TimescaleDB's own catalog only, which is not copied.",
       "Leave hypertables and their chunks out by tables.exclude, and move them by TimescaleDB's "
       "own tools."},
      {"source.partition_families", "warn",
       "A partition that is selected alone becomes an ordinary table; one that is left out is "
       "missing in its parent, with its rows.",
       "Select the partitioned table, which brings its partitions, and exclude none of them."},
      {"source.inheritance", "fail, warn",
       "A child needs its parent to be created; a parent without its children shows fewer rows.",
       "Select parents and children alike."},
      {"source.foreign_keys", "warn",
       "What hangs on a table that is not selected is not created at the destination.",
       "Select those tables as well, or accept."},
      {"source.full_identity", "warn",
       "Such a column cannot be compared by an operator: every update or delete reads the whole "
       "table at the destination and compares bytes.",
       "ALTER TABLE ... ADD PRIMARY KEY, or a unique index on columns that are NOT NULL, at the "
       "destination at least."},
      {"destination.connection", "fail",
       "Nothing can be written to a server that does not let us in.",
       "Correct host, port, user, password or pg_hba.conf; the finding says which."},
      {"destination.version", "fail, warn",
       "The destination must know what the source's schema uses.",
       "Use a destination of the source's version or newer, 13 at least."},
      {"destination.writable", "fail", "A standby takes no writes.", "Give the primary's address."},
      {"destination.encoding", "fail, warn",
       "A character that the destination's encoding lacks would stop its table.",
       "Create the destination database with ENCODING 'UTF8' TEMPLATE template0."},
      {"destination.same_database", "fail", "A database cannot be its own copy.",
       "Correct one of the two URIs."},
      {"destination.create_schema", "fail",
       "How far the task is stands in the destination's schema towline_state.",
       "GRANT CREATE ON DATABASE ... ;"},
      {"destination.create_tables", "fail",
       "Tables that are not there are created, in the schemas of the source.",
       "GRANT USAGE, CREATE ON SCHEMA ... ; or GRANT CREATE ON DATABASE ... ;"},
      {"destination.extensions", "fail", "The schema uses the source's extensions.",
       "Install the extension's package on the destination's host, or CREATE EXTENSION as "
       "superuser."},
      {"destination.replication_role_setting", "fail",
       "Rows arrive complete, so triggers and foreign keys must not act on them a second time; "
       "session_replication_role = replica switches them off.",
       "GRANT SET ON PARAMETER session_replication_role TO ... ; (15 and later), else a "
       "superuser."},
      {"destination.replication_origin", "fail, warn",
       "Changes are marked with a replication origin, by which whoever replicates from the "
       "destination tells them from its own. With origin: none it must be so, or changes could go "
       "in "
       "circles.",
       "GRANT EXECUTE ON FUNCTION for the four functions of the finding, or a higher "
       "max_replication_slots (max_active_replication_origins from 18 on)."},
      {"destination.ddl_role", "fail, warn",
       "A schema change runs with the rights of the role that towline connects as, or of ddl_role. "
       "Functions of the source's users that it calls (in DEFAULT, USING, an index) run with them "
       "as well, and can go back to the former: it is to be no superuser either.",
       "Connect as a role that is no superuser, or let only those make schema changes at the "
       "source "
       "whom you trust with the destination."},
      {"destination.two_phase", "fail, warn",
       "With two_phase: on every transaction that is prepared at the source is prepared at the "
       "destination as well.",
       "ALTER SYSTEM SET max_prepared_transactions to the source's value or more, and restart; or "
       "two_phase: off."},
      {"destination.tables", "fail",
       "A table that exists must have the source's columns, as far as they are sent, and those "
       "that expressions add, of the same types or of types that docs/types.md lists; a key is not "
       "complete without its columns. One that is shared must tell the tasks' rows apart in every "
       "key (docs/shared.md).",
       "The ALTER TABLE statements of the finding; or, if it is not shared, drop the table and let "
       "towline create it."},
      {"destination.rows", "fail",
       "Rows that are there already would mix with those of the source.",
       "Empty the table (one that is shared: only of rows with the task's value), or set existing: "
       "append or existing: truncate for it."},
      {"destination.referring_rows", "fail, warn",
       "Foreign keys do not act while rows are replicated: where existing: truncate empties a "
       "table, rows of other tables that refer to it stay, without what they refer to.",
       "Empty those tables as well, or set existing: truncate for them if they are selected; or "
       "accept, if the source has what their rows refer to: it then is a warning."},
      {"destination.table_privileges", "fail", "Every change of a table is repeated there.",
       "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE for what the finding lists."},
      {"destination.table_owners", "fail, warn",
       "With ddl a table's changes are repeated there, and a server lets only its owner, and the "
       "members of that role, alter, index or drop it.",
       "ALTER TABLE ... OWNER TO ... ; or, so that the owner stays, GRANT that role to ours; or "
       "accept, if these tables never change."},
      {"destination.sequences", "fail, warn",
       "The copy sets the sequences at its end, and the stream goes on with that: what is not "
       "there or may not be set would give out numbers again that rows of the source have.",
       "Create them as the source has them, with the defaults that use them, or set schema: copy; "
       "GRANT SELECT, UPDATE ON SEQUENCE for what the finding lists."},
      {"destination.row_security", "fail", "Row security would refuse rows that the source has.",
       "ALTER ROLE ... BYPASSRLS;"},
      {"destination.connections_free", "warn",
       "The copy opens one connection for each worker and a few more.",
       "ALTER SYSTEM SET max_connections and restart, or lower limits.copy_workers."},
      {"destination.tls", "warn", "Rows and passwords could be read or changed on their way.",
       "Add sslmode=verify-full (or require) to the URI, and set ssl = on at the server."},
      {"destination.collation", "warn",
       "Text is sorted and compared by other rules there: ORDER BY, ranges and indexes on text "
       "answer differently.",
       "Create the destination database with the source's locale (CREATE DATABASE ... TEMPLATE "
       "template0 LC_COLLATE '...' LC_CTYPE '...')."},
      {"destination.time_zone", "warn",
       "The values are the same; sessions that set no zone of their own show and read them by the "
       "server's.",
       "ALTER DATABASE ... SET timezone = the source's."},
      {"destination.clock", "warn",
       "Delays and the times of conflicts are differences between the two clocks.",
       "Let both hosts keep their clocks by NTP."},
      {"destination.types", "fail",
       "A table cannot be created without the types and collations of its columns.",
       "Use a destination of the source's version, with the same locales; have an extension in "
       "the schema that it has at the source, in a version that has the type."},
      {"destination.extension_versions", "warn",
       "What an older version of an extension lacks, the schema may use.",
       "ALTER EXTENSION ... UPDATE; or install the newer package on the destination's host."},
      {"destination.keys", "warn",
       "Rows are found by the source's key: without an index on it every change reads the whole "
       "table, and changes cannot be put together.",
       "CREATE UNIQUE INDEX on the source's key columns."},
      {"destination.constraints", "warn",
       "A row that the source has taken and the destination refuses stops the task.",
       "Drop what the finding lists, or see to it that the source's rows pass."},
      {"destination.triggers", "warn",
       "Triggers and rules that are ENABLE ALWAYS or REPLICA act on rows that are complete "
       "already, and the table's rows are then written one by one in the source's order, as with "
       "fold: off. Those of a foreign key refuse and cascade, to rows whose own changes come by "
       "the stream.",
       "ALTER TABLE ... ENABLE TRIGGER, which makes it fire for applications only; of those of a "
       "constraint only a superuser may change it."},
      {"destination.event_triggers", "warn",
       "Event triggers that are ENABLE ALWAYS or REPLICA act on what towline creates and alters, "
       "or refuse it.",
       "ALTER EVENT TRIGGER ... ENABLE, which makes it fire for applications only."},
      {"destination.names", "warn",
       "What has the name already is left as it is: the source's table, index or sequence is not "
       "made.",
       "Rename or drop what has the name at the destination."},
      {"destination.identity_columns", "warn",
       "After the switch applications are refused the numbers that they give, or give none where "
       "one is needed.",
       "The ALTER TABLE statements of the finding."},
      {"capacity.locks", "fail, warn",
       "The copy locks all selected tables at once, in each of its sessions at the source.",
       "ALTER SYSTEM SET max_locks_per_transaction and restart, or lower limits.copy_workers."},
      {"capacity.disk_space", "none",
       "The estimate to hold against the free space of the destination's disk, which SQL does not "
       "show.",
       "Look there (df) before the start."},
      {"capacity.wal_kept", "warn",
       "Until the copy is done (of tables in key ranges: until each range is) the slot keeps the "
       "log that is written meanwhile; beyond this limit the slot is lost and the copy with it. "
       "The "
       "time is estimated from the size of tables and indexes at 20 MB/s, or copy_rate_max if that "
       "is less, and the log from what the source has written since its statistics were reset.",
       "ALTER SYSTEM SET max_slot_wal_keep_size to more; then reload."},
      {"task.table_options", "fail",
       "An option for a table that is not selected has no effect, which is seldom meant.",
       "Correct the name under table:, written \"schema.table\"."},
      {"task.slot", "fail, warn", "The slot is the task's place in the source's log.",
       "As the finding says: another task name or slot, or drop the slot that is left."},
      {"task.other_task", "fail",
       "Two tasks that write one table would overwrite each other, unless they share it with "
       "different values (docs/shared.md).",
       "Leave the table out of one of them, or share it, or towline drop the other task."},
      {"task.subscription", "fail, warn",
       "A subscription that writes the same tables and the task would overwrite each other.",
       "ALTER SUBSCRIPTION ... DISABLE and drop it, or leave the tables out of one of the two."},
      {"task.loop", "fail, warn",
       "Another task carries the destination's changes into the source: each change would go "
       "round, without end.",
       "Set origin: none in both tasks, or towline drop the other one."},
  };
  return *catalog;
}

const CheckInfo& FindCheck(absl::string_view id) {
  for (const CheckInfo& info : CheckCatalog()) {
    if (id == info.id) return info;
  }
  TOWLINE_CHECK(false);
}

namespace {

using SetOfChecks = std::set<absl::string_view>;

const SetOfChecks* NewSetOfChecks(std::initializer_list<const char*> ids) {
  auto* set = new SetOfChecks;
  for (const char* id : ids) set->insert(FindCheck(id).id);  // a mistyped one is a bug
  return set;
}

}  // namespace

bool IsOfStages(absl::string_view id, bool copies_rows, bool streams) {
  static const auto* of_stream = NewSetOfChecks({"source.wal_level",
                                                 "source.slots_free",
                                                 "source.senders_free",
                                                 "source.plugin",
                                                 "source.plugin_version",
                                                 "source.output_plugin_libraries",
                                                 "source.replication_role",
                                                 "source.database_privileges",
                                                 "source.replication_connection",
                                                 "source.max_slot_wal_keep_size",
                                                 "source.synchronous_standby_names",
                                                 "source.standby_connection",
                                                 "source.standby",
                                                 "source.hot_standby_feedback",
                                                 "source.log_standby_snapshot",
                                                 "source.compression",
                                                 "source.ddl_capture",
                                                 "source.replica_identity",
                                                 "source.full_identity",
                                                 "source.table_rules_identity",
                                                 "source.table_rules_entering",
                                                 "source.two_phase",
                                                 "source.failover_slots",
                                                 "source.wal_sender_timeout",
                                                 "source.logical_decoding_work_mem",
                                                 "destination.ddl_role",
                                                 "destination.table_owners",
                                                 "destination.two_phase",
                                                 "destination.keys",
                                                 "capacity.wal_kept",
                                                 "task.slot",
                                                 "task.loop"});
  static const auto* of_copy = NewSetOfChecks(
      {"source.slots_free", "source.log_standby_snapshot", "source.long_transactions",
       "source.old_snapshot_threshold", "source.large_objects", "source.other_relations",
       "source.event_triggers", "source.foreign_keys", "source.activity",
       "destination.create_tables", "destination.extensions", "destination.rows",
       "destination.referring_rows", "capacity.locks", "capacity.disk_space", "capacity.wal_kept"});
  // The schema alone: rows are neither read nor written, and what is there stays as it is.
  static const auto* of_rows = NewSetOfChecks(
      {"source.sequence_privileges", "source.row_security", "source.unlogged_tables",
       "source.activity", "source.table_rules", "source.long_transactions", "source.large_objects",
       "source.extension_tables", "source.other_relations", "destination.rows",
       "destination.referring_rows", "destination.table_privileges", "destination.row_security",
       "destination.constraints", "destination.triggers", "capacity.locks", "capacity.disk_space",
       "task.other_task", "task.subscription"});
  if (!streams) return !of_stream->contains(id) && (copies_rows || !of_rows->contains(id));
  return copies_rows || !of_copy->contains(id);
}

std::string ChecksMarkdown() {
  std::string out =
      "<!-- Written by `towline reference --checks` from consumer/precheck/check_catalog.cpp. Do "
      "not "
      "edit. -->\n\n"
      "# Checks\n\n"
      "`towline check` prints what it finds, with the exact statement that mends it; `--json` "
      "gives "
      "the same to programs\n(`statement`: SQL to execute at `where`; `needs`: what must follow "
      "it, "
      "`nothing`, `reload` or `restart`). `towline init`\nprints all statements by server, "
      "`towline "
      "init --execute` executes those that are safe. `run` begins with the same\nchecks. A warning "
      "that is known and wanted is accepted by its id (`accept: [source.tls]`, `--accept "
      "source.tls`): it is shown as\naccepted, and `run` does not log it. What fails stays "
      "failed, except where the table says that it can be accepted.\nWith `stages` chosen, checks "
      "that matter to other stages only are left out. Exit "
      "status "
      "of `check`: 0 nothing failed (warnings may stand), 1 something failed, 3 a server could not "
      "be\nreached.\n\n"
      "| id | level | why | mended by |\n|---|---|---|---|\n";
  for (const CheckInfo& info : CheckCatalog()) {
    absl::StrAppend(&out, "| `", info.id, "` | ", info.level, " | ", info.why, " | ", info.mend,
                    " |\n");
  }
  return out;
}

}  // namespace towline
