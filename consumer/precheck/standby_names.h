// The list of synchronous_standby_names as the server reads it, for the question whether a session
// of ours would count as one of them. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace towline {

// The names of "FIRST 2 (a, \"b c\")", "ANY 1 (*)", "2 (a, b)" or "a, b", without quotes; "*"
// stands for every name. Empty for an empty setting. What the server would not take gives what can
// be read.
std::vector<std::string> SynchronousNames(absl::string_view setting);

// Whether a session of that application name is one of them: names are compared as the server does,
// without regard to case.
bool CountsAsSynchronous(absl::string_view setting, absl::string_view application_name);

// The setting with each "*" replaced by `standbys`, in quotes.
std::string WithNamesInsteadOfStar(absl::string_view setting,
                                   const std::vector<std::string>& standbys);

}  // namespace towline
