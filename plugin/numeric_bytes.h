// numeric as numeric_send writes it, straight from the stored value. numeric is what money is kept
// in, and the function call with its allocations cost as much as all other columns of a row
// together.
#pragma once

#include "byte_buffer.h"

namespace towline::plugin {

// Whether this server stores numeric as the code below takes it to: a few values are written both
// ways and compared. The layout has not changed since 9.1, but the server does not promise it.
bool NumericLayoutIsKnown();

// Writes length and bytes of the value in `stored` (the varlena's contents), which take up to
// twelve bytes more than it, and returns their end. Null for NaN and infinities: they go through
// numeric_send.
char* PutNumeric(char* at, std::string_view stored);

// Appends the same. False, with nothing appended, for NaN and infinities.
bool AppendNumeric(std::string_view stored, ByteBuffer* image);

}  // namespace towline::plugin
