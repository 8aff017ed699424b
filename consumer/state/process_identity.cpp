#include "state/process_identity.h"

#include <unistd.h>

#include <climits>
#include <fstream>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace towline {
namespace {

std::string ReadLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Of the machine as far as pids mean anything in it; empty if it cannot be told.
std::string PidSpace() {
  std::string boot = ReadLine("/proc/sys/kernel/random/boot_id");
  char target[PATH_MAX] = {};
  ssize_t length = readlink("/proc/self/ns/pid", target, sizeof target - 1);
  if (boot.empty() || length <= 0) return "";
  return absl::StrCat(boot, "/", target);
}

// In clock ticks since boot (proc(5), field 22). The name in field 2 may hold anything, so the
// fields are counted from its closing parenthesis.
std::string StartTime(absl::string_view pid) {
  std::string stat = ReadLine(absl::StrCat("/proc/", pid, "/stat"));
  size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return "";
  std::vector<std::string> fields =
      absl::StrSplit(absl::StripAsciiWhitespace(stat.substr(name_end + 1)), ' ');
  // Field 3 comes first here: the state. A zombie runs nothing any more.
  if (fields[0] == "Z" || fields[0] == "X") return "";
  constexpr size_t kStartTime = 22 - 3;
  return fields.size() > kStartTime ? fields[kStartTime] : "";
}

}  // namespace

std::string OwnProcessIdentity() {
  std::string space = PidSpace();
  std::string pid = absl::StrCat(getpid());
  std::string start = StartTime(pid);
  return space.empty() || start.empty() ? "" : absl::StrCat(space, "/", pid, "/", start);
}

ProcessFate FateOfProcess(absl::string_view identity) {
  std::string space = PidSpace();
  std::vector<absl::string_view> parts = absl::StrSplit(identity, '/');
  if (space.empty() || parts.size() != 4 || absl::StrCat(parts[0], "/", parts[1]) != space) {
    return ProcessFate::kUnknown;
  }
  return StartTime(parts[2]) == parts[3] ? ProcessFate::kAlive : ProcessFate::kDead;
}

}  // namespace towline
