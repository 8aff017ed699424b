#include "apply/ddl_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "apply/ddl_words.h"

namespace towline {

std::string WithoutConcurrently(absl::string_view statement) {
  const DdlWords words(statement);
  size_t at = 0;
  for (absl::string_view expected : {"CREATE", "DROP", "UNIQUE", "INDEX"}) {
    if (words.Is(at, expected)) ++at;
  }
  if (words.Is(at, "CONCURRENTLY")) return words.Without(at, at + 1);
  // DETACH PARTITION name CONCURRENTLY, or FINALIZE.
  for (size_t i = 0; i + 3 < words.size(); ++i) {
    if (!words.Is(i, "DETACH") || !words.Is(i + 1, "PARTITION")) continue;
    const size_t behind = words.BehindName(i + 2);
    if (!words.Is(behind, "CONCURRENTLY") && !words.Is(behind, "FINALIZE")) break;
    return words.Without(behind, behind + 1);
  }
  return std::string(statement);
}

std::string WithoutIfNotExists(absl::string_view create_table) {
  const DdlWords words(create_table);
  for (size_t i = 0; i + 3 < words.size() && words[i].depth == 0; ++i) {
    if (!words.Is(i, "TABLE")) continue;
    const bool has_if =
        words.Is(i + 1, "IF") && words.Is(i + 2, "NOT") && words.Is(i + 3, "EXISTS");
    return has_if ? words.Without(i + 1, i + 4) : std::string(create_table);
  }
  return std::string(create_table);
}

std::string WithNoData(absl::string_view statement) {
  const DdlWords words(statement);
  size_t end = words.size();
  if (end > 2 && words.Is(end - 1, "DATA")) {
    const size_t with = words.Is(end - 2, "NO") ? end - 3 : end - 2;
    if (words.Is(with, "WITH")) {
      return absl::StrCat(statement.substr(0, words[with].begin), "WITH NO DATA");
    }
  }
  // On a line of its own: a comment may stand at the end.
  return absl::StrCat(statement, "\nWITH NO DATA");
}

std::string WithoutTablespace(absl::string_view statement) {
  std::string text(statement);
  while (true) {
    const DdlWords words(text);
    size_t cut = words.size();
    // As a clause it stands behind the definition, and before a query or a condition.
    for (size_t i = 0; i + 1 < words.size() && cut == words.size(); ++i) {
      if (words[i].depth == 0 && (words.Is(i, "AS") || words.Is(i, "WHERE"))) break;
      if (!words.Is(i, "TABLESPACE") || !words[i + 1].is_name) continue;
      const bool is_of_index = i > 1 && words.Is(i - 1, "INDEX") && words.Is(i - 2, "USING");
      const bool is_own = words.Is(0, "CREATE") && words[i].depth == 0;
      if (!is_of_index && !is_own) continue;
      cut = is_of_index ? i - 2 : i;
      text = words.Without(cut, i + 2);
    }
    if (cut == words.size()) return text;
  }
}

std::string AsCreateTable(absl::string_view select_into) {
  const DdlWords words(select_into);
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (!words.Is(i, "INTO") || words[i].depth > 0) continue;
    size_t at = i + 1;
    bool is_unlogged = false;
    for (absl::string_view word : {"UNLOGGED", "TABLE"}) {
      if (!words.Is(at, word)) continue;
      is_unlogged |= word == "UNLOGGED";
      ++at;
    }
    const size_t end = words.BehindName(at);
    if (end > words.size() || !words[at].is_name) break;
    const absl::string_view name =
        select_into.substr(words[at].begin, words[end - 1].end - words[at].begin);
    return absl::StrCat(is_unlogged ? "CREATE UNLOGGED TABLE " : "CREATE TABLE ", name, " AS ",
                        words.Without(i, end));
  }
  return std::string(select_into);
}

std::string WithIfExists(absl::string_view tag, absl::string_view drop) {
  const DdlWords words(drop);
  const std::vector<absl::string_view> expected = absl::StrSplit(tag, ' ');
  if (expected.front() != "DROP") return std::string(drop);
  size_t at = 0;
  while (at < expected.size() && words.Is(at, expected[at])) ++at;
  if (at < expected.size()) return std::string(drop);
  if (words.Is(at, "CONCURRENTLY")) ++at;
  if (at >= words.size() || words.Is(at, "IF")) return std::string(drop);
  return absl::StrCat(drop.substr(0, words[at].begin), "IF EXISTS ", drop.substr(words[at].begin));
}

std::string AsSchema(absl::string_view create_schema, absl::string_view name, bool keeps_owner) {
  const DdlWords words(create_schema);
  size_t at = 2;
  for (absl::string_view word : {"IF", "NOT", "EXISTS"}) {
    if (words.Is(at, word)) ++at;
  }
  const bool is_named = !words.Is(at, "AUTHORIZATION");
  const size_t clause = is_named ? at + 1 : at;
  if (clause + 1 >= words.size() || !words.Is(clause, "AUTHORIZATION")) {
    return std::string(create_schema);
  }
  const absl::string_view owner =
      create_schema.substr(words[clause].begin, words[clause + 1].end - words[clause].begin);
  return absl::StrCat(create_schema.substr(0, words[at].begin), name,
                      keeps_owner ? absl::StrCat(" ", owner) : "",
                      create_schema.substr(words[clause + 1].end));
}

bool Cascades(absl::string_view tag, absl::string_view drop) {
  const DdlWords words(drop);
  const size_t last = words.size() - 1;
  if (!words.Is(last, "CASCADE")) return false;
  size_t name = static_cast<size_t>(std::count(tag.begin(), tag.end(), ' ')) + 1;
  for (absl::string_view word : {"CONCURRENTLY", "IF", "EXISTS"}) {
    if (words.Is(name, word)) ++name;
  }
  // Something may be called so.
  return last > name && !words.IsSign(last - 1, '.') && !words.IsSign(last - 1, ',') &&
         !words.Is(last - 1, "ON");
}

std::string AsDropOf(absl::string_view tag, absl::string_view drop,
                     const std::vector<std::string>& names) {
  return absl::StrCat(tag, " ", absl::StrJoin(names, ", "), Cascades(tag, drop) ? " CASCADE" : "");
}

}  // namespace towline
