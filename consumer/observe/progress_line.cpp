#include "observe/progress_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/format.h"
#include "base/log.h"
#include "base/steady_clock.h"

namespace towline {
namespace {

constexpr size_t kLineBytesMax = 120;
constexpr absl::Duration kTerminalInterval = absl::Seconds(1);
constexpr absl::Duration kLogInterval = absl::Seconds(10);
// An idle task repeats its line this often, so that a day's log stays readable.
constexpr absl::Duration kUnchangedLogInterval = absl::Minutes(5);
// Rates and the time left are taken over this window: one second alone jumps too much.
constexpr absl::Duration kRateWindow = absl::Seconds(10);
// Above it an estimate says nothing.
constexpr absl::Duration kEtaMax = absl::Hours(24 * 30);

int64_t RowsApplied(const TaskStatus& status) {
  return status.rows_inserted + status.rows_updated + status.rows_deleted;
}

double PerSecond(int64_t before, int64_t now, absl::Duration elapsed) {
  double seconds = absl::ToDoubleSeconds(elapsed);
  return seconds <= 0 || now < before ? 0 : static_cast<double>(now - before) / seconds;
}

std::string Rate(double per_second) { return FormatCount(static_cast<int64_t>(per_second + 0.5)); }

void AppendEta(std::string& line, double left, double per_second) {
  absl::Duration eta = per_second > 0 ? absl::Seconds(left / per_second) : absl::InfiniteDuration();
  if (left <= 0 || eta > kEtaMax) return;
  absl::StrAppend(&line, ", ETA ", towline::FormatDuration(std::max(eta, absl::Seconds(1))));
}

std::string CopyingLine(const TaskStatus& before, const TaskStatus& now, absl::Duration elapsed) {
  std::string line = absl::StrCat(now.state, ": ", now.tables_done, "/", now.tables_total,
                                  " tables, ", FormatBytes(now.copy_bytes_done));
  if (now.copy_bytes_total > 0) {
    // The total is an estimate: more than all of it is never shown.
    int64_t percent = std::min<int64_t>(100, now.copy_bytes_done * 100 / now.copy_bytes_total);
    absl::StrAppend(&line, " of ", FormatBytes(now.copy_bytes_total), " (", percent, "%)");
  }
  double bytes_rate = PerSecond(before.copy_bytes_done, now.copy_bytes_done, elapsed);
  // Rows are counted when a part of a table is done, so a second without any says nothing.
  double rows_rate = PerSecond(before.copy_rows_done, now.copy_rows_done, elapsed);
  if (rows_rate > 0) absl::StrAppend(&line, ", ", Rate(rows_rate), " rows/s");
  absl::StrAppend(&line, ", ", FormatBytes(static_cast<int64_t>(bytes_rate)), "/s");
  AppendEta(line, static_cast<double>(now.copy_bytes_total - now.copy_bytes_done), bytes_rate);
  return line;
}

std::string StreamingLine(const TaskStatus& before, const TaskStatus& now, absl::Duration elapsed) {
  std::string line = absl::StrCat(
      now.state, ": ", Rate(PerSecond(RowsApplied(before), RowsApplied(now), elapsed)),
      " rows/s, lag ", FormatBytes(now.lag_bytes), " ", absl::StrFormat("%.1fs", now.lag_seconds));
  if (now.state == "catching_up") {
    double shrinks = PerSecond(now.lag_bytes, before.lag_bytes, elapsed);
    AppendEta(line, static_cast<double>(now.lag_bytes), shrinks);
  }
  // In danger the slot matters more than any rate.
  if (now.wal_status == "unreserved" || now.wal_status == "lost") {
    absl::StrAppend(&line, ", SLOT ", now.wal_status);
  }
  if (now.conflicts > 0) absl::StrAppend(&line, ", ", FormatCount(now.conflicts), " conflicts");
  return line;
}

std::string WaitingLine(const TaskStatus& now) {
  std::string line = now.state;
  if (now.state == "retrying") {
    auto text = [](absl::Duration time) {
      return towline::FormatDuration(std::max(time, absl::ZeroDuration()));
    };
    absl::StrAppend(&line, " in ", text(now.retry_in), " (for ", text(now.retry_window_left),
                    " more)");
  }
  if (!now.waiting_for.empty()) absl::StrAppend(&line, ": ", now.waiting_for);
  return line;
}

// One line, cut at a character's border: errors of servers may have several lines and any bytes.
std::string OneLine(std::string line, size_t bytes_max) {
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  if (line.size() <= bytes_max) return line;
  size_t end = bytes_max < 3 ? 0 : bytes_max - 3;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;
  return line.substr(0, end) + "...";
}

size_t TerminalColumns() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return kLineBytesMax;
  return size.ws_col - 1;  // a full line would wrap
}

}  // namespace

std::string ProgressLine(const TaskStatus& before, const TaskStatus& now, absl::Duration elapsed) {
  std::string line;
  if (now.state == "copying" || now.state == "copying_schema") {
    line = CopyingLine(before, now, elapsed);
  } else if (now.state == "indexing") {
    line = absl::StrCat(now.state, ": ", now.statements_done, "/", now.statements_total,
                        " indexes and constraints");
  } else if (now.state == "constraints") {
    line = absl::StrCat(now.state, ": ", now.statements_done, "/", now.statements_total,
                        " constraints and materialized views");
  } else if (now.state == "streaming" || now.state == "catching_up") {
    line = StreamingLine(before, now, elapsed);
  } else {
    return OneLine(WaitingLine(now), kLineBytesMax);
  }
  if (!now.waiting_for.empty()) absl::StrAppend(&line, ", waits: ", now.waiting_for);
  return OneLine(line, kLineBytesMax);
}

ProgressReporter::ProgressReporter(const StatusBoard& board, bool is_terminal)
    : board_(board), is_terminal_(is_terminal), thread_([this] { Loop(); }) {}

ProgressReporter::~ProgressReporter() {
  stop_.Request();
  thread_.join();
  if (is_terminal_) SetStatusLine("");
}

void ProgressReporter::Loop() {
  struct Sample {
    absl::Time time;
    TaskStatus status;
  };
  std::deque<Sample> samples;
  std::string logged;
  absl::Time logged_at = absl::InfinitePast();
  absl::Duration interval = is_terminal_ ? kTerminalInterval : kLogInterval;
  do {
    Sample now{SteadyNow(), board_.Get()};
    // A rate across a change of state would compare different things.
    if (!samples.empty() && samples.back().status.state != now.status.state) samples.clear();
    while (samples.size() > 1 && now.time - samples.front().time > kRateWindow) samples.pop_front();
    samples.push_back(now);
    const Sample& first = samples.front();
    std::string line = ProgressLine(first.status, now.status, now.time - first.time);
    if (is_terminal_) {
      SetStatusLine(OneLine(line, TerminalColumns()));
    } else if (samples.size() > 1 &&
               (line != logged || now.time - logged_at >= kUnchangedLogInterval)) {
      LogInfo(line, {{"lag_bytes", absl::StrCat(now.status.lag_bytes)},
                     {"lag_seconds", absl::StrFormat("%.1f", now.status.lag_seconds)},
                     {"position", now.status.position.ToString()}});
      logged = line;
      logged_at = now.time;
    }
  } while (stop_.SleepFor(interval));
}

}  // namespace towline
