#include "pg/quoting.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace towline {

std::string QuoteIdentifier(absl::string_view name) {
  return absl::StrCat("\"", absl::StrReplaceAll(name, {{"\"", "\"\""}}), "\"");
}

std::string QuoteQualified(absl::string_view schema, absl::string_view name) {
  return absl::StrCat(QuoteIdentifier(schema), ".", QuoteIdentifier(name));
}

std::string QuoteLiteral(absl::string_view text) {
  std::string quoted = absl::StrReplaceAll(text, {{"'", "''"}, {"\\", "\\\\"}});
  bool has_backslash = text.find('\\') != absl::string_view::npos;
  return absl::StrCat(has_backslash ? "E'" : "'", quoted, "'");
}

}  // namespace towline
