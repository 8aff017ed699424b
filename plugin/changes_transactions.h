// How transactions begin and end in towline.changes(): part of changes_text.h.
#pragma once

#include "changes_text.h"

namespace towline::plugin {

// Begin and Commit.
void ReadTransaction(ReadableStream* stream, std::string_view message, bool is_begin,
                     ReadableEntry* entry);

}  // namespace towline::plugin
