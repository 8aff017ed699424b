#include "pg/connect_options.h"

#include <libpq-fe.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "pg/secrets.h"

namespace towline {
namespace {

// True if what the message quotes stands in the connection string outside of its secrets.
bool IsSafeToShow(absl::string_view message, absl::string_view conninfo) {
  size_t open = message.find('"');
  size_t close = message.rfind('"');
  if (open == close) return true;
  std::string masked = MaskSecrets(conninfo);
  if (masked == conninfo) return true;
  absl::string_view quoted = message.substr(open + 1, close - open - 1);
  // libpq may quote all of the string; a part that is shown elsewhere may be shown again.
  return !absl::StrContains(quoted, '@') && absl::StrContains(masked, quoted);
}

}  // namespace

absl::StatusOr<ConnectOptions> ConnectOptions::Parse(absl::string_view side,
                                                     absl::string_view conninfo) {
  ConnectOptions options;
  options.side_ = std::string(side);
  options.conninfo_ = std::string(conninfo);
  char* message = nullptr;
  std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(
      PQconninfoParse(options.conninfo_.c_str(), &message), &PQconninfoFree);
  if (parsed == nullptr) {
    std::string text = message != nullptr ? message : "out of memory";
    PQfreemem(message);
    // libpq quotes the part it does not understand, which may be of a password.
    if (!IsSafeToShow(text, conninfo)) text = "not a valid connection URI or string";
    return WithHint(absl::InvalidArgumentError(
                        absl::StrCat("invalid ", side, " URI: ", absl::StripSuffix(text, "\n"))),
                    "Write it as postgresql://user@host:port/database (special characters "
                    "percent-encoded) or as \"host=... dbname=...\".");
  }
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    absl::string_view keyword = option->keyword;
    if (keyword == "host" || keyword == "hostaddr") options.host_ = option->val;
    if (keyword == "port") options.port_ = option->val;
    if (keyword == "user") options.user_ = option->val;
    if (keyword == "dbname") options.database_ = option->val;
  }
  return options;
}

std::string ConnectOptions::Describe() const {
  std::string text;
  auto add = [&text](absl::string_view key, const std::string& value) {
    if (!value.empty()) absl::StrAppend(&text, text.empty() ? "" : " ", key, "=", value);
  };
  add("host", host_);
  add("port", port_);
  add("user", user_);
  add("dbname", database_);
  return text.empty() ? "libpq's defaults" : text;
}

}  // namespace towline
