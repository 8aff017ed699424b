#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/fault_point.h"

namespace towline {
namespace {

struct Fault {
  int signal = 0;
  int passages_left = 1;
};

std::map<std::string, Fault> ReadFaults() {
  std::map<std::string, Fault> faults;
  const char* setting = std::getenv("TOWLINE_FAULT");
  if (setting == nullptr) return faults;
  for (absl::string_view text : absl::StrSplit(setting, ',', absl::SkipEmpty())) {
    // Names hold colons themselves ("copy:in-table"), so it is read from its end.
    std::vector<std::string> parts = absl::StrSplit(text, ':');
    Fault fault;
    int passages = 0;
    if (parts.size() > 2 && absl::SimpleAtoi(parts.back(), &passages)) {
      fault.passages_left = passages;
      parts.pop_back();
    }
    std::string action = parts.back();
    parts.pop_back();
    if (!parts.empty() && action == "kill") {
      fault.signal = SIGKILL;
    } else if (!parts.empty() && action == "stop") {
      fault.signal = SIGSTOP;
    } else {
      std::fprintf(stderr, "TOWLINE_FAULT: cannot read \"%s\"\n", std::string(text).c_str());
      std::exit(2);
    }
    faults[absl::StrJoin(parts, ":")] = fault;
  }
  return faults;
}

}  // namespace

void FaultPoint(const char* name) {
  static std::mutex mutex;
  static std::map<std::string, Fault> faults = ReadFaults();
  std::lock_guard lock(mutex);
  auto found = faults.find(name);
  if (found == faults.end() || --found->second.passages_left != 0) return;
  std::fprintf(stderr, "fault point %s: signal %d\n", name, found->second.signal);
  std::raise(found->second.signal);
}

}  // namespace towline
