// What the receive stage puts into the queue, in the order of the stream.
#pragma once

#include "base/lsn.h"
#include "model/frame.h"

namespace towline {

struct Received {
  enum class Kind { kFrame, kProgress };
  Kind kind = Kind::kProgress;
  Frame frame;  // kFrame
  Lsn wal_end;  // kProgress (a keepalive): the source has sent all before it
};

}  // namespace towline
