// How far the destination is, by what one session has sent and heard of its own commits. Pure.
//
//   durable <= committed <= sent
//
// Only what is durable may be told to the source (I2). A commit that was not synchronous may be
// lost with the destination's server until a synchronous one behind it has been answered: that
// makes all before it durable too.
#pragma once

#include "base/lsn.h"

namespace towline {

class Positions {
 public:
  // What is stored there may be an asynchronous commit of a predecessor: nothing is durable yet.
  explicit Positions(Lsn stored) : committed_(stored), sent_(stored) {}

  // A COMMIT leaves that moves the position to `end_lsn`: the next transaction is built on it (I1).
  void Send(Lsn end_lsn) { sent_ = end_lsn; }
  // It was executed.
  void Commit(Lsn end_lsn, bool is_synchronous) {
    committed_ = end_lsn;
    if (is_synchronous) durable_ = end_lsn;
  }

  Lsn sent() const { return sent_; }  // what the next compare-and-set expects
  Lsn committed() const { return committed_; }
  Lsn durable() const { return durable_; }
  bool is_all_durable() const { return committed_ <= durable_; }

 private:
  Lsn committed_;
  Lsn sent_;
  Lsn durable_;
};

}  // namespace towline
