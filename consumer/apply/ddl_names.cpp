#include "apply/ddl_names.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "apply/ddl_words.h"
#include "pg/quoting.h"

namespace towline {
namespace {

// Tokens of the statement.
struct Place {
  size_t if_exists;  // equal to `name`, or where IF EXISTS stands
  size_t name;
};

// Commands whose name of a table stands behind a reserved word.
constexpr std::array<std::pair<absl::string_view, absl::string_view>, 8> kOfTables = {
    {{"CREATE INDEX", "ON"},
     {"CREATE TRIGGER", "ON"},
     {"CREATE POLICY", "ON"},
     {"CREATE RULE", "TO"},
     {"CREATE STATISTICS", "FROM"},
     {"ALTER TRIGGER", "ON"},
     {"ALTER POLICY", "ON"},
     {"ALTER RULE", "ON"}}};

std::optional<size_t> BehindWord(const DdlWords& words, absl::string_view word) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].depth == 0 && words.Is(i, word)) return i + 1;
  }
  return std::nullopt;
}

std::optional<size_t> BehindPartitionOf(const DdlWords& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].depth == 0 && words.Is(i, "PARTITION") && words.Is(i + 1, "OF")) return i + 2;
  }
  return std::nullopt;
}

std::optional<size_t> BehindKeywords(const DdlWords& words, absl::string_view tag) {
  size_t at = 0;
  for (absl::string_view word : absl::StrSplit(tag, ' ')) {
    if (!words.Is(at, word)) return std::nullopt;
    ++at;
  }
  return at;
}

std::optional<Place> FindName(const DdlCommand& command, const DdlWords& words) {
  // They have no schema, but what they hold has.
  if (command.tag == "ALTER EXTENSION" || command.tag == "ALTER PUBLICATION") return std::nullopt;
  std::optional<size_t> at;
  auto of_table = std::find_if(kOfTables.begin(), kOfTables.end(),
                               [&](const auto& entry) { return entry.first == command.tag; });
  if (command.tag == "CREATE TABLE") {
    at = BehindPartitionOf(words);
  } else if (of_table != kOfTables.end()) {
    at = BehindWord(words, of_table->second);
  } else if (absl::StartsWith(command.tag, "ALTER ") ||
             command.tag == "REFRESH MATERIALIZED VIEW") {
    at = BehindKeywords(words, command.tag);
  }
  if (!at.has_value()) return std::nullopt;
  const size_t if_exists = *at;
  const bool has_if = words.Is(*at, "IF") && words.Is(*at + 1, "EXISTS");
  if (has_if) *at += 2;
  if (words.Is(*at, "CONCURRENTLY") || words.Is(*at, "ONLY")) ++*at;
  // U&"..." is no name that can be read here.
  if (!words.IsName(*at) || words.IsSign(*at + 1, '&')) return std::nullopt;
  return Place{has_if ? if_exists : *at, *at};
}

bool HasAction(const DdlCommand& command, absl::string_view action) {
  return std::find(command.actions.begin(), command.actions.end(), action) != command.actions.end();
}

// Nothing where it cannot be told.
std::string SchemaOf(const DdlCommand& command, const std::string& name) {
  if (!command.named_schema.empty()) return command.named_schema;
  // The objects of a rewrite are the tables below as well.
  if (command.phase == DdlPhase::kRewrite || HasAction(command, "SET SCHEMA") ||
      command.tag == "CREATE TABLE") {
    return "";
  }
  const bool is_renamed = HasAction(command, "RENAME") || HasAction(command, "RENAME TABLE");
  std::set<std::string> schemas;
  for (const DdlObject& object : command.objects) {
    const std::optional<TableName> own = NameInIdentity(object.identity);
    if (object.table.name == name) schemas.insert(object.table.schema);
    if (own.has_value() && own->name == name) schemas.insert(own->schema);
  }
  if (schemas.empty() && is_renamed && command.objects.size() == 1) {
    const DdlObject& object = command.objects.front();
    schemas.insert(object.table.name.empty() ? object.schema : object.table.schema);
  }
  return schemas.size() == 1 ? *schemas.begin() : "";
}

}  // namespace

std::optional<TableName> NameInIdentity(const std::string& identity) {
  const DdlWords words(identity);
  if (!words.IsName(0) || !words.IsSign(1, '.') || !words.IsName(2)) return std::nullopt;
  return TableName{words.NameAt(0), words.NameAt(2)};
}

std::string WithWholeName(const DdlCommand& command) {
  const std::string& text = command.statement;
  const DdlWords words(text);
  const std::optional<Place> place = FindName(command, words);
  if (!place.has_value() || words.IsSign(place->name + 1, '.')) return text;
  const std::string schema = SchemaOf(command, words.NameAt(place->name));
  if (schema.empty()) return text;
  const size_t name = words[place->name].begin;
  std::string before = text.substr(0, name);
  if (place->if_exists < place->name) {
    // ONLY may stand between.
    before = absl::StrCat(
        text.substr(0, words[place->if_exists].begin),
        text.substr(words[place->if_exists + 1].end, name - words[place->if_exists + 1].end));
  }
  return absl::StrCat(before, QuoteIdentifier(schema), ".", text.substr(name));
}

}  // namespace towline
