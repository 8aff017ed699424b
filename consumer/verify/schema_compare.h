// Whether the two schemas are the same: what pg_dump writes of each, statement by statement, and
// whether the destination's sequences have come as far as the source's.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/shutdown.h"
#include "pg/connect_options.h"
#include "pg/connection.h"
#include "schema/catalog_reader.h"
#include "schema/dump.h"
#include "verify/report.h"

namespace towline {

struct SchemaCompareOptions {
  ConnectOptions source;
  ConnectOptions destination;
  TableSelection selection;
  SchemaOptions schema;
  absl::Duration sequence_wait;  // how long a sequence may be behind: they follow at intervals
};

absl::StatusOr<SchemaReport> CompareSchemas(const SchemaCompareOptions& options, Connection& source,
                                            Connection& destination, const Shutdown& shutdown);

}  // namespace towline
