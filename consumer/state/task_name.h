// What a task and the things that bear its name on both servers are called. The application names
// of a task's sessions begin with the slot's name and say at which end they work, so that a
// predecessor's sessions can be told from anybody else's: a database in a loop or cascade has
// sessions of one task as its source and may have those of another, which bears the same name, as
// its destination.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "state/state_store.h"

namespace towline {

// For a task that the user did not name: made of the system identifiers and database OIDs of both
// ends, so that the same command resumes when host, port, user or password have changed.
std::string DeriveTaskName(const ServerIdentity& source, const ServerIdentity& destination);

// kInvalidArgument for a name that cannot be stored or shown: empty, longer than 63 bytes, control
// characters or a slash.
absl::Status CheckTaskName(absl::string_view task);

// "towline_<task>", in the letters that slot names may have. A task name that has others keeps its
// uniqueness by a hash. At most 48 bytes: application names add words, and the server cuts at 63.
std::string SlotName(absl::string_view task);

// "towline_<task> src <purpose>" and "towline_<task> dst <purpose>"; a purpose has at most 10
// bytes.
std::string SourceApplication(absl::string_view task, absl::string_view purpose);
std::string DestinationApplication(absl::string_view task, absl::string_view purpose);

}  // namespace towline
