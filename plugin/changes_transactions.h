// How transactions and their runs begin and end in towline.changes(): part of changes_text.h.
#pragma once

#include "changes_text.h"

namespace towline::plugin {

// False if the entry is of another kind.
bool ReadTransactionEntry(ReadableStream* stream, uint32_t kind, std::string_view message,
                          ReadableEntry* entry);

}  // namespace towline::plugin
