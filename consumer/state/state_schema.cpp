#include "state/state_schema.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Any constant will do as long as all versions of towline use the same; the letters of "towline".
constexpr char kLockSql[] = "SELECT pg_catalog.pg_advisory_xact_lock(32778094293442149)";

// One entry per version: what leads from the one before to it. Entries never change once released;
// a new version appends.
constexpr const char* kUpgrades[kStateSchemaVersion] = {
    // Version 1. The task row is updated by every batch: room in its page keeps those updates HOT,
    // and the second unique index makes the epoch a key column, so that FOR KEY SHARE
    // (position.cpp)
    // holds off a takeover and nothing else.
    R"sql(
CREATE TABLE towline_state.meta (
  version integer NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE towline_state.meta IS 'Version of this schema; one row.';

CREATE TABLE towline_state.task (
  task text NOT NULL PRIMARY KEY,
  epoch bigint NOT NULL,
  position pg_lsn,
  state text NOT NULL,
  phase text NOT NULL,
  state_since timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  error text NOT NULL DEFAULT '',
  source_system_identifier numeric(20) NOT NULL,
  source_timeline bigint NOT NULL,
  source_database_oid bigint NOT NULL,
  source_database text NOT NULL,
  destination_system_identifier numeric(20) NOT NULL,
  destination_timeline bigint NOT NULL,
  destination_database_oid bigint NOT NULL,
  destination_database text NOT NULL,
  slot text NOT NULL DEFAULT '',
  is_slot_created boolean NOT NULL DEFAULT false,
  plugin_version text NOT NULL DEFAULT '',
  snapshot text NOT NULL DEFAULT '',
  lsn_after pg_lsn,
  host text NOT NULL,
  pid integer NOT NULL,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  taken_over_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT task_epoch_key UNIQUE (task, epoch)
) WITH (fillfactor = 10);
COMMENT ON TABLE towline_state.task IS
  'One row per replication task that writes into this database. position moves in the same transaction as the rows it stands for. Do not edit: the copy would lose or repeat changes.';

CREATE TABLE towline_state.session (
  task text NOT NULL,
  epoch bigint NOT NULL,
  pid integer NOT NULL,
  backend_start timestamptz NOT NULL,
  application_name text NOT NULL,
  purpose text NOT NULL,
  run_id text NOT NULL,
  client_host text NOT NULL,
  client_pid integer NOT NULL,
  client_process text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  PRIMARY KEY (task, pid, backend_start)
) WITH (fillfactor = 50);
COMMENT ON TABLE towline_state.session IS
  'Sessions of the consumers with this server, so that a successor can end what a dead one left.';

CREATE TABLE towline_state.piece (
  task text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  ordinal bigint NOT NULL,
  source_oid bigint NOT NULL,
  existing text NOT NULL,
  state text NOT NULL,
  bytes_total bigint NOT NULL,
  rows_done bigint NOT NULL,
  PRIMARY KEY (task, schema_name, table_name)
);
COMMENT ON TABLE towline_state.piece IS 'Tables of the initial copy and how far each is.';

CREATE TABLE towline_state.schema_statement (
  task text NOT NULL,
  section text NOT NULL,
  ordinal bigint NOT NULL,
  is_setting boolean NOT NULL,
  statement text NOT NULL,
  is_done boolean NOT NULL,
  PRIMARY KEY (task, section, ordinal)
);
COMMENT ON TABLE towline_state.schema_statement IS
  'Statements of the schema dump that the initial copy runs, and which of them have run.';

CREATE TABLE towline_state.conflict (
  task text NOT NULL,
  number bigint GENERATED ALWAYS AS IDENTITY,
  seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  end_lsn pg_lsn,
  xid numeric(20),
  schema_name text NOT NULL DEFAULT '',
  table_name text NOT NULL DEFAULT '',
  type text NOT NULL,
  resolution text NOT NULL,
  sqlstate text NOT NULL DEFAULT '',
  message text NOT NULL DEFAULT '',
  key_values text,
  row_values text,
  PRIMARY KEY (task, number)
);
COMMENT ON TABLE towline_state.conflict IS
  'Changes that the destination did not take as they came, and what was done about each. Row values stand here and in no log.';
)sql",
    // Version 2: prepared transactions (state/prepared.h).
    R"sql(
CREATE TABLE towline_state.prepared (
  task text NOT NULL,
  xid numeric(20) NOT NULL,
  gid text NOT NULL,
  source_gid text NOT NULL,
  destination_xid xid8,
  prepared_at timestamptz NOT NULL,
  PRIMARY KEY (task, xid)
);
COMMENT ON TABLE towline_state.prepared IS
  'Transactions that are prepared at the source and, as gid, at this server. Do not edit: how each has ended here could not be told any more.';
)sql",
    // Version 3: rows, columns and operations of tables may be chosen.
    R"sql(
ALTER TABLE towline_state.piece ADD COLUMN rule text NOT NULL DEFAULT '';
)sql",
    // Version 4: a destination that publishes all its tables lets nothing be deleted without a key.
    R"sql(
ALTER TABLE towline_state.meta ADD PRIMARY KEY (version);
COMMENT ON TABLE towline_state.piece IS
  'Tables of the initial copy and how far each is; tables that the stream brought later.';
)sql",
    // Version 5: tables may be copied under several snapshots. The shape of older ones is not
    // known, so a copy that stands in its middle starts again; task.lsn_after stays, as the last's.
    R"sql(
CREATE TABLE towline_state.snapshot (
  task text NOT NULL,
  number integer NOT NULL,
  snapshot text NOT NULL,
  lsn_after pg_lsn NOT NULL,
  shape text NOT NULL,
  PRIMARY KEY (task, number)
);
COMMENT ON TABLE towline_state.snapshot IS
  'Snapshots under which tables were copied, until the stream has passed the last. Do not edit: the copy would lose or repeat changes.';
ALTER TABLE towline_state.piece ADD COLUMN snapshot_number integer;
INSERT INTO towline_state.snapshot (task, number, snapshot, lsn_after, shape)
  SELECT task, 1, snapshot, lsn_after, '' FROM towline_state.task WHERE snapshot <> '';
UPDATE towline_state.piece p SET snapshot_number = 1 FROM towline_state.snapshot s
  WHERE s.task = p.task AND p.state <> 'streamed';
ALTER TABLE towline_state.task DROP COLUMN snapshot;
)sql",
    // Version 6: progress of a copy that runs. Updated every few seconds: room for HOT.
    R"sql(
ALTER TABLE towline_state.piece ADD COLUMN bytes_done bigint NOT NULL DEFAULT 0;
ALTER TABLE towline_state.piece SET (fillfactor = 70);
UPDATE towline_state.piece SET bytes_done = bytes_total WHERE state = 'copied';
)sql",
    // Version 7: columns that are cast (state/column_types.h), and large objects.
    R"sql(
CREATE TABLE towline_state.column_type (
  task text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  column_name text NOT NULL,
  type_schema text NOT NULL,
  type_name text NOT NULL,
  type_modifier integer NOT NULL,
  PRIMARY KEY (task, schema_name, table_name, column_name)
);
COMMENT ON TABLE towline_state.column_type IS
  'Types at the source, when they were copied, of columns that have another type here.';

CREATE TABLE towline_state.made_object (
  task text NOT NULL,
  number oid NOT NULL,
  PRIMARY KEY (task, number)
);
COMMENT ON TABLE towline_state.made_object IS
  'Large objects that the initial copy has made; emptied when it is complete.';
)sql",
    // Version 8: ranges of a table's key, each under a snapshot of its own.
    R"sql(
CREATE TABLE towline_state.range (
  task text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  ordinal bigint NOT NULL,
  from_key text,
  until_key text,
  state text NOT NULL,
  rows_done bigint NOT NULL,
  snapshot text,
  lsn_after pg_lsn,
  PRIMARY KEY (task, schema_name, table_name, ordinal)
);
COMMENT ON TABLE towline_state.range IS
  'Ranges of keys in which large tables are copied, until the stream has passed them. Do not edit: the copy would lose or repeat changes.';
ALTER TABLE towline_state.piece ADD COLUMN key_column text, ADD COLUMN key_type text,
  ADD COLUMN key_type_oid bigint, ADD COLUMN key_collation text,
  ADD COLUMN source_form text NOT NULL DEFAULT '';
)sql",
    // Version 9: conflicts that a policy allows.
    R"sql(
ALTER TABLE towline_state.conflict ADD COLUMN existing_values text;
CREATE TABLE towline_state.conflict_total (
  task text NOT NULL,
  type text NOT NULL,
  resolution text NOT NULL,
  count bigint NOT NULL,
  PRIMARY KEY (task, type, resolution)
);
COMMENT ON TABLE towline_state.conflict_total IS
  'How many conflicts there were of each type, whether or not their rows are still in conflict.';
INSERT INTO towline_state.conflict_total (task, type, resolution, count)
  SELECT task, type, resolution, count(*) FROM towline_state.conflict GROUP BY 1, 2, 3;
)sql",
    // Version 10: what comparisons found and repaired (state/verify_record.h).
    R"sql(
CREATE TABLE towline_state.verify_run (
  task text NOT NULL,
  run bigint GENERATED ALWAYS AS IDENTITY,
  mode text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  finished_at timestamptz,
  verdict text,
  PRIMARY KEY (task, run)
);
COMMENT ON TABLE towline_state.verify_run IS 'Comparisons by towline verify; the last twenty.';

CREATE TABLE towline_state.verify_result (
  task text NOT NULL,
  run bigint NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  verdict text NOT NULL,
  source_rows bigint NOT NULL,
  destination_rows bigint NOT NULL,
  ranges bigint NOT NULL,
  missing bigint NOT NULL,
  extra bigint NOT NULL,
  different bigint NOT NULL,
  undecided bigint NOT NULL,
  repaired bigint NOT NULL,
  seconds double precision NOT NULL,
  note text NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  PRIMARY KEY (task, run, schema_name, table_name)
);
COMMENT ON TABLE towline_state.verify_result IS 'What a comparison found in each table.';

CREATE TABLE towline_state.verify_row (
  task text NOT NULL,
  run bigint NOT NULL,
  number bigint GENERATED ALWAYS AS IDENTITY,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  kind text NOT NULL,
  key_values text NOT NULL,
  columns text[] NOT NULL,
  repaired_at timestamptz,
  replaced_values text,
  PRIMARY KEY (task, run, number)
);
COMMENT ON TABLE towline_state.verify_row IS
  'Rows that differed, and what of them was repaired. Row values stand here and in no log.';
)sql",
    // Version 11: schema changes of the source.
    R"sql(
CREATE TABLE towline_state.ddl_history (
  task text NOT NULL,
  number bigint GENERATED ALWAYS AS IDENTITY,
  end_lsn pg_lsn NOT NULL,
  ordinal bigint NOT NULL,
  xid numeric(20) NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  tag text NOT NULL,
  kind text NOT NULL,
  statement text NOT NULL,
  search_path text NOT NULL,
  role text NOT NULL,
  objects text NOT NULL,
  fate text NOT NULL,
  reason text NOT NULL,
  decision text NOT NULL DEFAULT '' CHECK (decision IN ('', 'skip', 'approve')),
  PRIMARY KEY (task, end_lsn, ordinal)
);
COMMENT ON TABLE towline_state.ddl_history IS
  'Schema changes of the source and what became of each. Of a held one decision says what to do with it.';
)sql",
    // Version 12: a slot that is on a standby of the source (run/attempt.cpp, Compare).
    R"sql(
ALTER TABLE towline_state.task ADD COLUMN is_slot_on_standby boolean NOT NULL DEFAULT false;
)sql",
    // Version 13: lost slots that were healed. A task whose phase is healing must not be streamed
    // by a version that does not know it.
    R"sql(
CREATE TABLE towline_state.heal (
  task text NOT NULL,
  number bigint NOT NULL,
  began_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  ended_at timestamptz,
  reason text NOT NULL,
  position_before pg_lsn,
  slot_begin pg_lsn,
  verify_run bigint,
  tables bigint,
  missing bigint,
  extra bigint,
  different bigint,
  PRIMARY KEY (task, number)
);
COMMENT ON TABLE towline_state.heal IS
  'Each time that a task could not go on from its slot and was compared instead: why, and how many rows were brought, taken back and changed.';
)sql",
    // Version 14: comparisons that are interrupted within a table.
    R"sql(
CREATE TABLE towline_state.verify_progress (
  task text NOT NULL,
  run bigint NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  form text NOT NULL,
  bounds text[] NOT NULL,
  ranges_done bigint NOT NULL,
  source_rows bigint NOT NULL,
  destination_rows bigint NOT NULL,
  ranges bigint NOT NULL,
  missing bigint NOT NULL,
  extra bigint NOT NULL,
  different bigint NOT NULL,
  undecided bigint NOT NULL,
  repaired bigint NOT NULL,
  seconds double precision NOT NULL,
  saved_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  PRIMARY KEY (task, run, schema_name, table_name)
);
COMMENT ON TABLE towline_state.verify_progress IS
  'Tables that a comparison has begun, and how many of their ranges are done.';
ALTER TABLE towline_state.verify_run ADD COLUMN seed numeric(20);
)sql",
    // Version 15: tables that leave a task and come back (state/table_request.h).
    R"sql(
ALTER TABLE towline_state.piece ADD COLUMN is_added boolean NOT NULL DEFAULT false,
  ADD COLUMN reason text NOT NULL DEFAULT '';
CREATE TABLE towline_state.table_request (
  task text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  number bigint GENERATED ALWAYS AS IDENTITY,
  asked_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  action text NOT NULL,
  refusal text NOT NULL DEFAULT '',
  PRIMARY KEY (task, schema_name, table_name)
);
COMMENT ON TABLE towline_state.table_request IS
  'What towline table has asked of single tables and the task has not done yet, or has refused.';
)sql",
    // Version 16: a table that was added must still be empty when its copy begins; one that has
    // left
    // the selection while it could not be parked is parked later.
    R"sql(
ALTER TABLE towline_state.piece ADD COLUMN was_empty boolean NOT NULL DEFAULT false,
  ADD COLUMN has_left boolean NOT NULL DEFAULT false;
)sql",
    // Version 17: of what form a table was that a comparison has finished, in which order the
    // ranges of one come that is begun, and for each table the look that counts
    // (state/verify_look.h), whichever comparison made it: of those so far the last at all rows,
    // but a difference that none has taken back. A repair into a file had no mode of its own.
    R"sql(
ALTER TABLE towline_state.verify_result ADD COLUMN form text NOT NULL DEFAULT '';
ALTER TABLE towline_state.verify_progress ADD COLUMN range_order bigint[] NOT NULL DEFAULT '{}',
  ADD COLUMN known_at timestamptz;
CREATE TABLE towline_state.verify_look (
  task text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  run bigint NOT NULL,
  mode text NOT NULL,
  verdict text NOT NULL,
  rows_different bigint NOT NULL,
  looked_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  PRIMARY KEY (task, schema_name, table_name)
);
COMMENT ON TABLE towline_state.verify_look IS
  'What is known of each table by the comparisons so far: by its last look, but for those that may not take back what others found.';
UPDATE towline_state.verify_run u SET mode = u.mode || ', repair into a file'
  WHERE u.mode NOT LIKE '%repair%' AND u.mode <> 'heal' AND EXISTS (
    SELECT FROM (SELECT task, run, repaired FROM towline_state.verify_result
                 UNION ALL SELECT task, run, repaired FROM towline_state.verify_progress) AS r
    WHERE r.task = u.task AND r.run = u.run AND r.repaired > 0);
WITH look AS (
  SELECT r.task, r.schema_name, r.table_name, r.run, u.mode,
         CASE WHEN u.mode LIKE '%into a file' AND r.repaired > 0 THEN 'different'
              ELSE r.verdict END AS verdict,
         greatest(r.missing + r.extra + r.different
                  - CASE WHEN u.mode LIKE '%into a file' THEN 0 ELSE r.repaired END, 0)
           AS rows_different,
         r.finished_at, u.mode LIKE 'counts%' OR u.mode LIKE '%sample%' AS is_part
  FROM towline_state.verify_result r JOIN towline_state.verify_run u USING (task, run)
), dated AS (
  SELECT *, max(run) FILTER (WHERE verdict = 'equal' AND NOT is_part)
              OVER (PARTITION BY task, schema_name, table_name) AS equal_run
  FROM look
)
INSERT INTO towline_state.verify_look
  SELECT DISTINCT ON (task, schema_name, table_name) task, schema_name, table_name, run, mode,
         verdict, rows_different, finished_at
  FROM dated
  ORDER BY task, schema_name, table_name,
           verdict = 'different' AND run > coalesce(equal_run, 0) DESC, is_part, run DESC;
)sql",
    // Version 18: what each table of a copy was, so that only those that have changed are copied
    // again; and all of the catalogs, where captured commands follow.
    R"sql(
CREATE TABLE towline_state.shape (
  task text NOT NULL,
  schema_name text NOT NULL,
  table_name text NOT NULL,
  shape text NOT NULL,
  PRIMARY KEY (task, schema_name, table_name)
);
COMMENT ON TABLE towline_state.shape IS
  'Columns and unique indexes at the source of each table of the initial copy, until the stream has passed it.';
ALTER TABLE towline_state.snapshot ADD COLUMN catalogs text NOT NULL DEFAULT '';
)sql",
};

absl::StatusOr<int> ReadVersion(Connection& connection) {
  TOWLINE_ASSIGN_OR_RETURN(bool exists, HasStateSchema(connection));
  if (!exists) return 0;
  TOWLINE_ASSIGN_OR_RETURN(Result version,
                           connection.Exec("SELECT max(version) FROM towline_state.meta"));
  return static_cast<int>(version.GetInt(0, 0));
}

absl::Status CheckNotNewer(int version) {
  if (version <= kStateSchemaVersion) return absl::OkStatus();
  return WithHint(absl::FailedPreconditionError(absl::StrCat(
                      "the schema towline_state of the destination has version ", version,
                      ", this towline knows versions up to ", kStateSchemaVersion)),
                  "Install the newer towline that made it.");
}

// Nothing is asked of the user but what is missing: the right to create the schema, or the schema.
absl::Status ExplainRefusal(Connection& connection, const absl::Status& status) {
  if (!absl::IsPermissionDenied(status)) return status;
  absl::StatusOr<Result> names =
      connection.Query("SELECT pg_catalog.current_database(), current_user");
  if (!names.ok() || names->row_count() != 1) return status;
  std::string role = QuoteIdentifier(names->Get(0, 1));
  absl::StatusOr<bool> exists = HasStateSchema(connection);
  if (exists.ok() && *exists) {
    return WithHint(WithContext(status, "the schema towline_state belongs to another role"),
                    absl::StrCat("ALTER SCHEMA towline_state OWNER TO ", role,
                                 "; and the same for its tables, or connect as their owner."));
  }
  return WithHint(
      WithContext(status, "cannot create the schema towline_state"),
      absl::StrCat("GRANT CREATE ON DATABASE ", QuoteIdentifier(names->Get(0, 0)), " TO ", role,
                   "; or CREATE SCHEMA towline_state AUTHORIZATION ", role, ";"));
}

absl::Status Upgrade(Connection& connection) {
  TOWLINE_RETURN_IF_ERROR(connection.Exec("BEGIN").status());
  TOWLINE_RETURN_IF_ERROR(LockStateSchema(connection));
  TOWLINE_ASSIGN_OR_RETURN(int version, ReadVersion(connection));
  TOWLINE_RETURN_IF_ERROR(CheckNotNewer(version));
  if (version == 0) {
    // Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create even where one exists.
    TOWLINE_ASSIGN_OR_RETURN(
        Result exists,
        connection.Exec("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'towline_state'"));
    if (exists.row_count() == 0) {
      TOWLINE_RETURN_IF_ERROR(
          connection
              .Exec("CREATE SCHEMA towline_state; COMMENT ON SCHEMA towline_state IS "
                    "'Where towline keeps how far its tasks are. See docs/state.md.'")
              .status());
    }
  }
  for (int next = version; next < kStateSchemaVersion; ++next) {
    TOWLINE_RETURN_IF_ERROR(connection.Exec(kUpgrades[next]).status());
  }
  TOWLINE_RETURN_IF_ERROR(connection
                              .Exec(absl::StrCat("DELETE FROM towline_state.meta; INSERT INTO "
                                                 "towline_state.meta (version) VALUES (",
                                                 kStateSchemaVersion, ")"))
                              .status());
  return connection.Exec("COMMIT").status();
}

}  // namespace

absl::Status LockStateSchema(Connection& connection) { return connection.Exec(kLockSql).status(); }

absl::StatusOr<bool> HasStateSchema(Connection& connection) {
  // By pg_class, not to_regclass(): that one fails where the schema may not be used.
  TOWLINE_ASSIGN_OR_RETURN(
      Result exists,
      connection.Exec(
          "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
          "ON n.oid = c.relnamespace WHERE n.nspname = 'towline_state' AND c.relname = 'meta'"));
  return exists.row_count() > 0;
}

absl::Status EnsureStateSchema(Connection& connection) {
  absl::StatusOr<int> version = ReadVersion(connection);
  if (!version.ok()) return ExplainRefusal(connection, version.status());
  TOWLINE_RETURN_IF_ERROR(CheckNotNewer(*version));
  if (*version == kStateSchemaVersion) return absl::OkStatus();
  absl::Status upgraded = Upgrade(connection);
  if (!upgraded.ok()) {
    connection.Exec("ROLLBACK").status().IgnoreError();
    return ExplainRefusal(connection, upgraded);
  }
  return absl::OkStatus();
}

}  // namespace towline
