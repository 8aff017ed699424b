// Keeps the destination's sequences ahead of what the stream brings: their values are not in the
// stream, so they are read at the source every ten seconds and at an orderly end, and set at the
// destination, never back.
//
// A sequence that moves is set further than the source has it, by twice what it has moved since the
// look before (at least by kMarginMin steps): when the source is lost, its last rows hold numbers
// that were given out after the last look, and the destination must not give them out again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/lsn.h"
#include "base/shutdown.h"
#include "pg/connection.h"
#include "schema/catalog_reader.h"
#include "schema/sequences.h"
#include "state/state_store.h"

namespace towline {

class SequenceKeeper {
 public:
  struct Options {
    ConnectOptions source;
    ConnectOptions destination;
    TableSelection selection;
    std::string task;
  };
  // `store` and `shutdown` outlive it; `store` is used on the caller's thread.
  SequenceKeeper(Options options, StateStore& store, const Shutdown& shutdown);

  // Looks if it is time. Nothing that fails here ends the stream: it is logged and tried again. The
  // destination has the source's log up to `applied`; not valid: nobody knows.
  void LookIfDue(Lsn applied);
  // Now, at an orderly end.
  void Look(Lsn applied);

 private:
  // A sequence that is not at the destination.
  struct Absence {
    Lsn source_lsn;        // of the source's log when it was first missed
    bool is_sure = false;  // the destination has all that, and it has not come
  };
  absl::Status TryLook(Lsn applied);
  absl::Status Connect();
  absl::Status NoteMissing(const std::vector<SequenceValue>& missing, Lsn applied);

  const Options options_;
  StateStore& store_;
  const Shutdown& shutdown_;
  std::optional<Connection> source_;
  std::optional<Connection> destination_;
  std::map<TableName, SequenceValue> seen_;  // as the source had them at the last look
  std::map<TableName, Absence> missing_;     // at the last look, those that were to be set
  absl::Time due_;
  std::string last_failure_;
};

// What a sequence that stood at `before` and stands at `now` is set to at the destination. Within
// its bounds; `now` itself if it has not moved, or cycles.
SequenceValue WithMargin(const SequenceValue& before, const SequenceValue& now);

}  // namespace towline
