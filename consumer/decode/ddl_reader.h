// A DDL command of the stream, checked.
#pragma once

#include "absl/status/statusor.h"
#include "model/ddl.h"
#include "towline/v1/wire.pb.h"

namespace towline {

// kDataLoss for what the plugin does not send.
absl::StatusOr<DdlCommand> ReadDdl(const v1::Ddl& message);

}  // namespace towline
