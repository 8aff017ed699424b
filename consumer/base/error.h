// What an error says besides its text. The code states what the supervisor may do:
//   kInvalidArgument     configuration or flag: tell, exit 2
//   kFailedPrecondition  a server is not prepared: tell with a hint, exit 3
//   kUnavailable         connection lost or refused: retry for the connection window
//   kDeadlineExceeded, kAborted, kResourceExhausted, kUnknown
//                        retry for the window of other errors
//   kUnimplemented       waits for the operator: exit 4
//   kDataLoss            stopped to protect data: exit 5
//   kInternal            a bug of ours: exit 70
//   kCancelled           orderly shutdown: exit 0
// Texts follow PostgreSQL: primary line short and lower-case; detail and hint are sentences. The
// hint is an action. Neither secrets nor row values appear in any of them.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace towline {

// Adds or replaces a payload; an OK status stays as it is.
absl::Status WithHint(absl::Status status, absl::string_view hint);
absl::Status WithDetail(absl::Status status, absl::string_view detail);
absl::Status WithSqlState(absl::Status status, absl::string_view sqlstate);
// Puts "context: " before the text and keeps code and payloads.
absl::Status WithContext(const absl::Status& status, absl::string_view context);
// The same text and payloads under another code.
absl::Status WithCode(const absl::Status& status, absl::StatusCode code);

// Empty if the status carries none.
std::string GetHint(const absl::Status& status);
std::string GetDetail(const absl::Status& status);
std::string GetSqlState(const absl::Status& status);

// Exit status of the program for this result (table above).
int ExitCode(const absl::Status& status);

// "error text\nDETAIL:  ...\nHINT:  ..." as psql prints it, without a trailing newline.
std::string Describe(const absl::Status& status);

}  // namespace towline
