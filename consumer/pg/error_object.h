// What a server says, besides the text, of the object that an error is about. It knows a table for
// violated constraints, and for what a trigger raises USING TABLE.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace towline {

struct ErrorObject {
  std::string schema;
  std::string table;
  std::string constraint;  // may be empty
  std::string detail;      // may show values: for towline_state only
};

// The text stays as it is, and shows nothing of it.
absl::Status WithErrorObject(absl::Status status, const ErrorObject& object);
// Nothing: the server has said none of it.
std::optional<ErrorObject> ErrorObjectOf(const absl::Status& status);

}  // namespace towline
