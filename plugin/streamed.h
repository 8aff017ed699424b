// Transactions that are sent while they are in progress, in runs (docs/protocol.md).
#pragma once

#include "plugin_state.h"

namespace towline::plugin {

// What is known of such a transaction between its runs. Kept with the server's own transaction,
// because runs of several take turns.
struct StreamedTransaction {
  uint64_t xid;  // 64 bits
  uint64_t change_count;
  bool is_sent;         // the reader knows of it: something was sent in a run
  bool lacks_snapshot;  // it is in PluginState::without_snapshot
  StreamedTransaction* next_without;
};

// Writes what must stand before an entry of the change at hand: the beginning of the run, the
// subtransaction that the change belongs to.
void OpenInRun(PluginState* state);

// Null if the server has not streamed anything of the transaction.
StreamedTransaction* StreamedOf(ReorderBufferTXN* txn);
// The transaction has ended.
void ForgetStreamed(PluginState* state, ReorderBufferTXN* txn);

// Before the server takes in the next record: gives those transactions the view of the catalogs
// that they lack.
void GiveSnapshots(PluginState* state);

}  // namespace towline::plugin
