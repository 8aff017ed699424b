#include "config/option_parts.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"

namespace towline {

OptionSpec Named(const char* path, const std::string& words, const char* group) {
  OptionSpec option;
  option.path = path;
  option.flag = absl::StrCat("--", absl::StrReplaceAll(words, {{"_", "-"}}));
  option.env = absl::StrCat("TOWLINE_", absl::AsciiStrToUpper(words));
  option.group = group;
  return option;
}

absl::Status OutOfRange(const std::string& range) {
  return absl::InvalidArgumentError(absl::StrCat("must be ", range));
}

}  // namespace towline
