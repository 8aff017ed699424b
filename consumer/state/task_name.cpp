#include "state/task_name.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "base/stable_hash.h"

namespace towline {
namespace {

constexpr size_t kTaskBytesMax = 63;
constexpr size_t kSlotBytesMax = 48;
constexpr absl::string_view kSlotPrefix = "towline_";

}  // namespace

std::string DeriveTaskName(const ServerIdentity& source, const ServerIdentity& destination) {
  std::string text = absl::StrCat(source.system_identifier, "/", source.database_oid, "/",
                                  destination.system_identifier, "/", destination.database_oid);
  return absl::StrFormat("t%010x", StableHash(text) >> 24);
}

absl::Status CheckTaskName(absl::string_view task) {
  bool is_good = !task.empty() && task.size() <= kTaskBytesMax;
  for (char c : task)
    is_good = is_good && static_cast<unsigned char>(c) >= ' ' && c != '/' && c != 0x7f;
  if (is_good) return absl::OkStatus();
  return WithHint(absl::InvalidArgumentError("invalid task name"),
                  "Use up to 63 letters, digits, - and _, for example --task orders.");
}

std::string SlotName(absl::string_view task) {
  std::string name(kSlotPrefix);
  for (char c : task) {
    bool is_allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    name.push_back(is_allowed ? c : '_');
  }
  bool is_exact =
      name.size() <= kSlotBytesMax && absl::string_view(name).substr(kSlotPrefix.size()) == task;
  if (is_exact) return name;
  std::string hash = absl::StrFormat("_%08x", StableHash(task) >> 32);
  name.resize(std::min(name.size(), kSlotBytesMax - hash.size()));
  return name + hash;
}

std::string SourceApplication(absl::string_view task, absl::string_view purpose) {
  return absl::StrCat(SlotName(task), " src ", purpose);
}

std::string DestinationApplication(absl::string_view task, absl::string_view purpose) {
  return absl::StrCat(SlotName(task), " dst ", purpose);
}

}  // namespace towline
