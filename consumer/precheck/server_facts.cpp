#include "precheck/server_facts.h"

#include "base/status_macros.h"
#include "pg/quoting.h"

namespace towline {
namespace {

constexpr char kFactsSql[] = R"sql(
SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_database(),
       pg_catalog.current_setting('server_encoding'), COALESCE(pg_catalog.host(pg_catalog.inet_client_addr()), ''),
       COALESCE((SELECT s.ssl FROM pg_catalog.pg_stat_ssl s WHERE s.pid = pg_catalog.pg_backend_pid()), false),
       wanted.name, wanted.name = current_user, r.oid IS NOT NULL,
       COALESCE(r.rolsuper, false), COALESCE(r.rolreplication, false),
       COALESCE(r.rolbypassrls, false),
       COALESCE(pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'TEMPORARY'), true)
FROM (SELECT COALESCE(NULLIF($1::text, ''), current_user) AS name) wanted
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = wanted.name
)sql";

constexpr char kSettingsSql[] = R"sql(
SELECT name, setting, COALESCE(unit, ''), context <> 'postmaster', pending_restart, source
FROM pg_catalog.pg_settings
WHERE name IN ('wal_level', 'max_replication_slots', 'max_wal_senders', 'output_plugin_libraries',
               'max_slot_wal_keep_size', 'max_active_replication_origins', 'old_snapshot_threshold', 'max_connections',
               'superuser_reserved_connections', 'reserved_connections', 'max_prepared_transactions',
               'wal_sender_timeout', 'logical_decoding_work_mem', 'max_locks_per_transaction',
               'autovacuum_max_workers', 'autovacuum_worker_slots', 'max_worker_processes', 'synchronous_standby_names',
               'hot_standby_feedback', 'primary_slot_name', 'wal_receiver_status_interval')
)sql";

}  // namespace

std::string ServerFacts::QuotedRole() const { return QuoteIdentifier(role); }

absl::StatusOr<ServerFacts> ReadServerFacts(Connection& connection, const std::string& role) {
  ServerFacts facts;
  facts.version = connection.server_version();
  TOWLINE_ASSIGN_OR_RETURN(Result result, connection.Query(kFactsSql, {{role}}));
  facts.is_in_recovery = result.GetBool(0, 0);
  facts.database = result.GetString(0, 1);
  facts.encoding = result.GetString(0, 2);
  facts.client_address = result.GetString(0, 3);
  facts.has_tls = result.GetBool(0, 4);
  facts.role = result.GetString(0, 5);
  facts.is_current_role = result.GetBool(0, 6);
  facts.role_exists = result.GetBool(0, 7);
  facts.is_superuser = result.GetBool(0, 8);
  facts.has_replication = result.GetBool(0, 9) || facts.is_superuser;
  facts.bypasses_row_security = result.GetBool(0, 10) || facts.is_superuser;
  facts.has_temporary = result.GetBool(0, 11);
  TOWLINE_ASSIGN_OR_RETURN(Result settings, connection.Query(kSettingsSql));
  for (int row = 0; row < settings.row_count(); ++row) {
    facts.settings[settings.GetString(row, 0)] = {
        settings.GetString(row, 1), settings.GetString(row, 2), settings.GetBool(row, 3),
        settings.GetBool(row, 4), settings.GetString(row, 5)};
  }
  return facts;
}

}  // namespace towline
