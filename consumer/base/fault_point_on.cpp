#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
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
    std::vector<std::string> parts = absl::StrSplit(text, ':');
    Fault fault;
    bool good = parts.size() == 2 || (parts.size() == 3 && absl::SimpleAtoi(parts[2], &fault.passages_left));
    if (good && parts[1] == "kill") {
      fault.signal = SIGKILL;
    } else if (good && parts[1] == "stop") {
      fault.signal = SIGSTOP;
    } else {
      std::fprintf(stderr, "TOWLINE_FAULT: cannot read \"%s\"\n", std::string(text).c_str());
      std::exit(2);
    }
    faults[parts[0]] = fault;
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
