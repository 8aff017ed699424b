// Adds to every error raised while a change is encoded where it happened: relation, column,
// operation and transaction. The server itself adds slot, callback and LSN. Row values never
// appear.
#pragma once

#include "plugin_state.h"

namespace towline::plugin {

// Lives on the stack of one callback. Without a destructor, which an error would skip: the caller
// pairs Push with Pop, and an error resets the server's stack of contexts anyway.
struct ChangeErrorContext {
  ErrorContextCallback callback;
  const char* operation;
  TransactionId xid;
  const char* relation_name;  // may be null
  const char* column_name;    // may be null
};

// What a reader sent, cut to a length that a log can hold.
const char* CutText(const char* text);

void PushErrorContext(ChangeErrorContext* context, const char* operation, TransactionId xid);
void PopErrorContext(ChangeErrorContext* context);

}  // namespace towline::plugin
