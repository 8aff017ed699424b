// numeric as numeric_send writes it, straight from the stored value. numeric is what money is kept
// in, and the function call with its allocations cost as much as all other columns of a row
// together.
#pragma once

#include "byte_buffer.h"

namespace towline::plugin {

// Whether this server stores numeric as the code below takes it to: a few values are written both
// ways and compared. The layout has not changed since 9.1, but the server does not promise it.
bool NumericLayoutIsKnown();

// Appends length and bytes of the value in `stored` (the varlena's contents). False, with nothing
// appended, for NaN and infinities: they go through numeric_send.
bool AppendNumeric(std::string_view stored, ByteBuffer* image);

}  // namespace towline::plugin
