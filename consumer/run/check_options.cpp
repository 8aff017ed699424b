#include "run/check_options.h"

#include "run/task_context.h"

namespace towline {

CheckOptions CheckOptionsOf(const Config& config) {
  CheckOptions options;
  options.source = config.source;
  if (config.has_source_standby && config.stages.stream) {
    options.source_standby = config.source_standby;
  }
  options.destination = config.destination;
  options.selection = SelectionOf(config);
  options.existing = ExistingPolicyOf(config);
  options.folds = config.folds;
  for (const auto& [table, actions] : config.ddl.tables) options.ddl_tables.insert(table);
  options.rules = config.rules;
  options.copies_schema = config.stages.schema;
  options.copies_rows = config.stages.copy;
  options.streams = config.stages.stream;
  options.copies_large_objects = config.CopiesLargeObjects();
  options.copies_extension_tables = config.copies_extension_tables;
  options.extension_rows = config.extension_rows;
  options.pg_dump = config.pg_dump;
  options.copy_workers = config.limits.copy_workers;
  options.copy_rate_max = config.limits.copy_rate_max;
  options.copy_rows_max = config.limits.copy_rows_max;
  options.gives_way =
      config.limits.copy_active_max > 0 || config.limits.copy_lag_max > absl::ZeroDuration();
  options.index_workers = config.limits.index_workers;
  options.two_phase = config.two_phase;
  options.wants_failover = config.failover != FailoverSlot::kOff && !config.has_source_standby;
  options.ddl = config.ddl.is_on;
  options.ddl_roles = config.ddl_roles.All();
  options.ddl_on_tables = config.ddl.RunsOnTables();
  options.compression = config.compression;
  options.requires_origin = !config.foreign_origins;
  options.streaming = config.streaming;
  options.accept = config.accept;
  return options;
}

}  // namespace towline
