#include "config/value_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/status_macros.h"

namespace towline {
namespace {

struct Unit {
  const char* name;
  int64_t bytes;
};
constexpr Unit kUnits[] = {{"TB", int64_t{1} << 40},
                           {"GB", int64_t{1} << 30},
                           {"MB", int64_t{1} << 20},
                           {"kB", int64_t{1} << 10},
                           {"B", 1},
                           {"", 1}};

// One part of a table's name off the front of the text.
absl::StatusOr<std::string> TakeNamePart(absl::string_view* text) {
  if (!absl::ConsumePrefix(text, "\"")) {
    std::string part(text->substr(0, text->find('.')));
    text->remove_prefix(part.size());
    return part;
  }
  std::string part;
  while (!text->empty()) {
    char c = text->front();
    text->remove_prefix(1);
    if (c != '"') {
      part.push_back(c);
    } else if (absl::ConsumePrefix(text, "\"")) {
      part.push_back('"');
    } else {
      return part;
    }
  }
  return absl::InvalidArgumentError("a double quote is not closed");
}

std::string NamePartText(const std::string& part) {
  bool is_plain = !absl::StrContains(part, '.') && !absl::StartsWith(part, "\"");
  return is_plain ? part : absl::StrCat("\"", absl::StrReplaceAll(part, {{"\"", "\"\""}}), "\"");
}

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

absl::StatusOr<int64_t> ParseBytes(absl::string_view text) {
  absl::string_view digits = text.substr(0, text.find_first_not_of("0123456789"));
  absl::string_view unit = absl::StripAsciiWhitespace(text.substr(digits.size()));
  int64_t number = 0;
  if (absl::SimpleAtoi(digits, &number)) {
    for (const Unit& known : kUnits) {
      // Case is forgiven: nobody means millibytes.
      if (absl::EqualsIgnoreCase(unit, known.name) && number <= INT64_MAX / known.bytes) {
        return number * known.bytes;
      }
    }
  }
  return absl::InvalidArgumentError("expected a size such as 64MB (units kB, MB, GB, TB)");
}

std::string BytesText(int64_t bytes) {
  for (const Unit& unit : kUnits) {
    if (bytes != 0 && bytes % unit.bytes == 0) {
      return absl::StrCat(bytes / unit.bytes, unit.bytes == 1 ? "" : unit.name);
    }
  }
  return "0";
}

absl::StatusOr<absl::Duration> ParseTime(absl::string_view text) {
  absl::Duration time;
  bool has_unit = !text.empty() && !absl::ascii_isdigit(text.back());
  if (has_unit && absl::ParseDuration(absl::StrReplaceAll(text, {{"min", "m"}}), &time) &&
      time >= absl::ZeroDuration() && time != absl::InfiniteDuration()) {
    return time;
  }
  return absl::InvalidArgumentError("expected a time with its unit such as 500ms, 10s, 5m or 1h");
}

std::string TimeText(absl::Duration time) {
  if (time == absl::ZeroDuration()) return "0s";
  if (time % absl::Hours(1) == absl::ZeroDuration()) {
    return absl::StrCat(absl::ToInt64Hours(time), "h");
  }
  if (time % absl::Minutes(1) == absl::ZeroDuration()) {
    return absl::StrCat(absl::ToInt64Minutes(time), "m");
  }
  return absl::FormatDuration(time);
}

absl::StatusOr<int64_t> ParseCount(absl::string_view text) {
  int64_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  return absl::InvalidArgumentError("expected a whole number");
}

absl::StatusOr<TableName> ParseTableName(absl::string_view text) {
  TableName name;
  TOWLINE_ASSIGN_OR_RETURN(name.schema, TakeNamePart(&text));
  bool has_dot = absl::ConsumePrefix(&text, ".");
  if (has_dot) {
    TOWLINE_ASSIGN_OR_RETURN(name.name, TakeNamePart(&text));
  }
  if (!has_dot || !text.empty() || name.schema.empty() || name.name.empty()) {
    return WithHint(absl::InvalidArgumentError("expected \"schema.table\""),
                    "A name that holds a dot stands in double quotes: '\"my.schema\".orders'.");
  }
  return name;
}

bool IsWholeSchema(absl::string_view text) { return absl::EndsWith(text, ".*"); }

std::string TableNameText(const TableName& name) {
  return absl::StrCat(NamePartText(name.schema), ".", NamePartText(name.name));
}

std::string NearestOf(absl::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    size_t distance = EditDistance(word, candidate);
    // Of a short word more than half must stay.
    if (distance < best_distance && distance * 2 < std::max(word.size(), candidate.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace towline
