#pragma once

#include <cstdint>

namespace towline {

using Oid = uint32_t;  // as the server's; 0 is invalid

}  // namespace towline
