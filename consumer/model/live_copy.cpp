#include "model/live_copy.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace towline {

void LiveCopy::Set(size_t piece, State from, State to) {
  TOWLINE_CHECK(pieces_[piece].state == from);
  pieces_[piece].state = to;
  ++change_count_;
  changed_.Notify();
}

void LiveCopy::AddTaken(size_t piece, CopySnapshot snapshot) {
  absl::MutexLock lock(&mutex_);
  Set(piece, State::kNotBegun, State::kTaken);
  pieces_[piece].snapshot = std::move(snapshot);
}

void LiveCopy::Announce(absl::Span<const size_t> pieces) {
  absl::MutexLock lock(&mutex_);
  for (size_t piece : pieces) Set(piece, State::kNotBegun, State::kAnnounced);
  Piece& first = pieces_[pieces.front()];
  first.must_hold.assign(passed_over_.begin(), passed_over_.end());
  first.must_hold_until = passed_until_;
}

bool LiveCopy::Accept(absl::Span<const size_t> pieces, const CopySnapshot& snapshot) {
  absl::MutexLock lock(&mutex_);
  Piece& first = pieces_[pieces.front()];
  TOWLINE_CHECK(first.state == State::kAnnounced);
  std::erase_if(first.must_hold,
                [&snapshot](uint64_t xid) { return snapshot.snapshot.IsVisible(xid); });
  if (!first.must_hold.empty() || snapshot.lsn_after <= first.must_hold_until) return false;
  first.must_hold = {};
  for (size_t piece : pieces) {
    Set(piece, State::kAnnounced, State::kTaken);
    pieces_[piece].snapshot = snapshot;
  }
  return true;
}

void LiveCopy::Withdraw(absl::Span<const size_t> pieces) {
  absl::MutexLock lock(&mutex_);
  for (size_t piece : pieces) {
    Piece& withdrawn = pieces_[piece];
    TOWLINE_CHECK(withdrawn.state != State::kFinished);
    Set(piece, withdrawn.state, State::kNotBegun);
    withdrawn = {};
  }
}

bool LiveCopy::Retake(absl::Span<const size_t> pieces) {
  absl::MutexLock lock(&mutex_);
  Piece& first = pieces_[pieces.front()];
  for (size_t piece : pieces) {
    Piece& taken = pieces_[piece];
    if (taken.state != State::kTaken || taken.lacked == 0) continue;
    first.must_hold.push_back(taken.lacked);
    first.must_hold_until = std::max(first.must_hold_until, taken.lacked_lsn);
    taken.lacked = 0;
  }
  if (first.must_hold.empty()) return false;
  for (size_t piece : pieces) Set(piece, State::kTaken, State::kAnnounced);
  return true;
}

void LiveCopy::Finish(size_t piece) {
  absl::MutexLock lock(&mutex_);
  Set(piece, State::kTaken, State::kFinished);
}

void LiveCopy::Forget(const Snapshot& seen) {
  absl::MutexLock lock(&mutex_);
  const size_t before = passed_over_.size();
  absl::erase_if(passed_over_, [&seen](uint64_t xid) { return seen.IsVisible(xid); });
  if (before < options_.remembered_max) return;
  ++change_count_;
  changed_.Notify();
}

LiveCopy::Verdict LiveCopy::Judge(size_t piece, uint64_t xid, Lsn commit_lsn) {
  absl::MutexLock lock(&mutex_);
  Piece& judged = pieces_[piece];
  switch (judged.state) {
    case State::kNotBegun:
      if (!passed_over_.contains(xid)) {
        if (passed_over_.size() >= options_.remembered_max) return Verdict::kWait;
        passed_over_.insert(xid);
      }
      passed_until_ = std::max(passed_until_, commit_lsn);
      return Verdict::kHeld;
    case State::kAnnounced:
      return Verdict::kWait;
    case State::kTaken:
      if (judged.snapshot.Holds(xid, commit_lsn)) return Verdict::kHeld;
      if (commit_lsn < judged.snapshot.lsn_after) {
        judged.lacked = xid;
        judged.lacked_lsn = commit_lsn;
      }
      return Verdict::kWait;
    case State::kFinished:
      return judged.snapshot.Holds(xid, commit_lsn) ? Verdict::kHeld : Verdict::kNew;
  }
  return Verdict::kWait;
}

void LiveCopy::AwaitChange(uint64_t change_count, absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  auto has_changed = [this, change_count]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return change_count_ != change_count;
  };
  changed_.Await(mutex_, has_changed, timeout);
}

uint64_t LiveCopy::change_count() const {
  absl::MutexLock lock(&mutex_);
  return change_count_;
}

void LiveCopy::NoteStanding(Lsn commit_lsn) {
  absl::MutexLock lock(&mutex_);
  standing_ = std::max(standing_, commit_lsn);
}

void LiveCopy::ForgetStanding() {
  absl::MutexLock lock(&mutex_);
  standing_ = {};
}

Lsn LiveCopy::standing() const {
  absl::MutexLock lock(&mutex_);
  return standing_;
}

bool LiveCopy::IsFinished(size_t piece) const {
  absl::MutexLock lock(&mutex_);
  return pieces_[piece].state == State::kFinished;
}

size_t LiveCopy::remembered() const {
  absl::MutexLock lock(&mutex_);
  return passed_over_.size();
}

}  // namespace towline
