// Reads both sides: the source under a snapshot, the destination when it has passed that snapshot.
// Both statements run at the same time, each for as long as it takes.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "pg/connection.h"
#include "verify/follower.h"

namespace towline {

class PairReader {
 public:
  PairReader(Connection source, Connection destination, Follower follower)
      : source_(std::move(source)),
        destination_(std::move(destination)),
        follower_(std::move(follower)) {}

  struct Pair {
    Result source;
    Result destination;
    bool has_passed = false;  // else the destination was read as it stood, before that snapshot
  };
  // An error leaves both sessions outside a transaction, if they live.
  absl::StatusOr<Pair> Read(const std::string& source_sql, const std::string& destination_sql);

  Connection& source() { return source_; }
  const std::string& stand_note() const { return follower_.stand_note(); }

 private:
  Connection source_;
  Connection destination_;
  Follower follower_;
};

}  // namespace towline
