#include "schema/table_patterns.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"

namespace towline {
namespace {

absl::Status BadPattern(absl::string_view text, absl::string_view reason) {
  return WithHint(
      absl::InvalidArgumentError(absl::StrCat("invalid table pattern \"", text, "\": ", reason)),
      "Write table, schema.table or schema.*, with names that need it in double quotes.");
}

bool IsRegexSpecial(char c) {
  return absl::string_view("|*+?()[]{}.^$\\").find(c) != absl::string_view::npos;
}

}  // namespace

absl::StatusOr<TablePattern> ParseTablePattern(absl::string_view text) {
  std::vector<std::string> parts(1);
  bool is_quoted = false;
  size_t blanks =
      0;  // behind the name read so far: within a name they count, around it they do not
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    std::string& part = parts.back();
    if (!is_quoted && absl::ascii_isspace(static_cast<unsigned char>(c))) {
      if (!part.empty()) ++blanks;
      continue;
    }
    if (c != '.' || is_quoted) part.append(blanks, ' ');
    blanks = 0;
    if (c == '"') {
      if (is_quoted && i + 1 < text.size() && text[i + 1] == '"') {
        part.push_back('"');
        ++i;
      } else {
        is_quoted = !is_quoted;
      }
    } else if (is_quoted) {
      if (IsRegexSpecial(c)) part.push_back('\\');
      part.push_back(c);
    } else if (c == ',') {
      return BadPattern(text, "a comma outside double quotes (give one pattern at a time)");
    } else if (c == '.') {
      parts.emplace_back();
    } else if (c == '*') {
      part.append(".*");
    } else if (c == '?') {
      part.push_back('.');
    } else if (c == '$') {
      part.append("\\$");  // a dollar is a letter of names more often than an anchor
    } else if (c == '[' && i + 1 < text.size() && text[i + 1] == ']') {
      part.append("\\[");
    } else {
      part.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
    }
  }
  if (is_quoted) return BadPattern(text, "a double quote is not closed");
  if (parts.size() > 2) return BadPattern(text, "more than one dot");
  for (const std::string& part : parts) {
    if (part.empty()) return BadPattern(text, "a name is empty");
  }
  TablePattern pattern;
  pattern.text = std::string(text);
  pattern.schema_regex = parts.size() == 2 ? absl::StrCat("^(", parts[0], ")$") : "^(.*)$";
  pattern.name_regex = absl::StrCat("^(", parts.back(), ")$");
  return pattern;
}

bool IsOfOwnSchema(const TablePattern& pattern) {
  return pattern.schema_regex == "^(towline_state)$" || pattern.schema_regex == "^(towline)$";
}

std::string ExactPattern(absl::string_view name) {
  return absl::StrCat("\"", absl::StrReplaceAll(name, {{"\"", "\"\""}}), "\"");
}

}  // namespace towline
