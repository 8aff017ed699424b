#include "apply/ddl_names.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "apply/ddl_drops.h"
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
  if (!words.IsName(*at)) return std::nullopt;
  return Place{has_if ? if_exists : *at, *at};
}

// U&"...", which cannot be read here. It may be followed by UESCAPE.
bool IsEscaped(const DdlWords& words, size_t at) {
  return words.Is(at, "U") && words.IsSign(at + 1, '&') && words.IsSign(at + 2, '"');
}

// Nothing where it cannot be told. No name: one that cannot be read.
std::string SchemaOf(const DdlCommand& command, const std::optional<std::string>& name) {
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
  const bool has_other_name = is_renamed || !name.has_value();
  if (schemas.empty() && has_other_name && command.objects.size() == 1) {
    const DdlObject& object = command.objects.front();
    schemas.insert(object.table.name.empty() ? object.schema : object.table.schema);
  }
  return schemas.size() == 1 ? *schemas.begin() : "";
}

// Of what has a schema, or belongs to a table; empty: another.
std::string KeywordsInComment(const DdlObject& object) {
  if (absl::EndsWith(object.type, " column")) return "COLUMN";
  if (object.type == "table constraint" || object.type == "domain constraint") return "CONSTRAINT";
  const bool has_place = !object.schema.empty() || !object.table.name.empty();
  return has_place && IsDroppable(object) ? KeywordsOf(object.type) : "";
}

std::string CommentByWholeName(const DdlCommand& command) {
  const std::string& text = command.statement;
  if (command.objects.size() != 1) return text;
  const DdlObject& object = command.objects.front();
  const std::string keywords = KeywordsInComment(object);
  const DdlWords words(text);
  // Only a string or NULL may follow.
  size_t is = words.size();
  while (is > 0 && !words.Is(is, "IS")) --is;
  if (keywords.empty() || object.identity.empty() || is == 0) return text;
  // A type among the arguments may be an extension's, which has another schema here.
  const size_t arguments = object.identity.find('(');
  if (arguments != std::string::npos && object.identity.find('.', arguments) != std::string::npos) {
    return text;
  }
  std::string name = NameAs(keywords, object);
  if (object.type == "domain constraint") {
    const DdlWords parts(name);
    if (!parts.Is(1, "ON") || parts.size() < 3) return text;
    name.insert(parts[2].begin, "DOMAIN ");
  }
  return absl::StrCat("COMMENT ON ", keywords, " ", name, " ", text.substr(words[is].begin));
}

// Where the routines or types of a GRANT begin.
std::vector<size_t> FindGranted(const DdlWords& words) {
  std::vector<size_t> places;
  const std::optional<size_t> kind = BehindWord(words, "ON");
  for (size_t i = kind.has_value() ? *kind + 1 : words.size(); i < words.size(); ++i) {
    if (words[i].depth > 0) continue;
    if (words.Is(i, "TO") || words.Is(i, "FROM")) break;
    if (i == *kind + 1 || words.IsSign(i - 1, ',')) places.push_back(i);
  }
  return places;
}

// Of a routine with its arguments; nothing: it cannot be told here.
std::optional<size_t> BehindRoutine(const DdlWords& words, size_t first) {
  size_t end = words.BehindName(first);
  if (end > words.size() || IsEscaped(words, first) || IsEscaped(words, end - 1)) {
    return std::nullopt;
  }
  if (!words.IsSign(end, '(')) return end;
  while (end < words.size() && !(words.IsSign(end, ')') && words[end].depth == 0)) ++end;
  return end == words.size() ? std::nullopt : std::optional<size_t>(end + 1);
}

// They are in one schema, or each object tells its own, and its whole name.
std::string GrantWithSchema(const DdlCommand& command) {
  const std::string& text = command.statement;
  const DdlWords words(text);
  const std::vector<size_t> places = FindGranted(words);
  const bool is_each_told = command.objects.size() == places.size();
  std::string written;
  size_t done = 0;
  for (size_t number = 0; number < places.size(); ++number) {
    const size_t i = places[number];
    if (!words.IsName(i)) continue;
    const DdlObject told = is_each_told ? command.objects[number] : DdlObject();
    absl::StrAppend(&written, text.substr(done, words[i].begin - done));
    done = words[i].begin;
    const std::optional<size_t> end = BehindRoutine(words, i);
    if (!told.identity.empty() && end.has_value()) {
      absl::StrAppend(&written, told.identity);
      done = words[*end - 1].end;
      continue;
    }
    const std::string& schema = told.schema.empty() ? command.named_schema : told.schema;
    const size_t name_end = IsEscaped(words, i) ? i + 3 : i + 1;
    if (schema.empty() || words.IsSign(name_end, '.')) continue;
    absl::StrAppend(&written, QuoteIdentifier(schema), ".");
  }
  return absl::StrCat(written, text.substr(done));
}

// Its name is no word.
std::string AlterOperatorWithSchema(const DdlCommand& command) {
  const std::string& text = command.statement;
  const DdlWords words(text);
  const std::optional<size_t> at = BehindKeywords(words, command.tag);
  if (!at.has_value() || *at >= words.size() || words.IsName(*at)) return text;
  std::string schema = command.named_schema;
  if (schema.empty() && command.objects.size() == 1) schema = command.objects.front().schema;
  if (schema.empty()) return text;
  const size_t name = words[*at].begin;
  return absl::StrCat(text.substr(0, name), QuoteIdentifier(schema), ".", text.substr(name));
}

}  // namespace

std::optional<TableName> NameInIdentity(const std::string& identity) {
  const DdlWords words(identity);
  if (!words.IsName(0) || !words.IsSign(1, '.') || !words.IsName(2)) return std::nullopt;
  return TableName{words.NameAt(0), words.NameAt(2)};
}

namespace {

// Of "s.f(integer,s.ty[])" the part in parentheses; empty: a type in it may be an extension's,
// which has another schema here.
std::string ArgumentsOf(const std::string& name, const std::set<std::string>& references) {
  const DdlWords words(name);
  size_t open = 0;
  while (open < words.size() && !words.IsSign(open, '(')) ++open;
  if (open >= words.size()) return "";
  size_t first = open + 1;
  for (size_t i = first; i < words.size(); ++i) {
    const bool is_end = words.IsSign(i, ',') || words.IsSign(i, ')');
    if (!is_end) continue;
    // A name, with its schema: brackets of an array may follow.
    const bool has_schema = i > first + 2 && words.IsSign(first + 1, '.');
    if (has_schema) {
      const size_t begin = words[first].begin;
      const std::string type = name.substr(begin, words[first + 2].end - begin);
      if (!references.contains(absl::StrCat("pg_type ", type))) return "";
    }
    first = i + 1;
  }
  return name.substr(words[open].begin);
}

// ALTER of a routine names the types of its arguments as the source means them.
std::string WithArguments(const DdlCommand& command, const std::string& text) {
  static constexpr std::array<absl::string_view, 4> kTags = {"ALTER FUNCTION", "ALTER PROCEDURE",
                                                             "ALTER ROUTINE", "ALTER AGGREGATE"};
  if (std::find(kTags.begin(), kTags.end(), command.tag) == kTags.end()) return text;
  if (command.objects.size() != 1) return text;
  const std::string keywords = command.tag.substr(std::string("ALTER ").size());
  const std::string arguments = ArgumentsOf(NameAs(keywords, command.objects.front()),
                                            command.references.value_or(std::set<std::string>()));
  const DdlWords words(text);
  const std::optional<size_t> at = BehindKeywords(words, command.tag);
  if (arguments.empty() || !at.has_value() || !words.IsName(*at)) return text;
  const std::optional<size_t> end = BehindRoutine(words, *at);
  if (!end.has_value()) return text;
  return absl::StrCat(text.substr(0, words[words.BehindName(*at) - 1].end), arguments,
                      text.substr(words[*end - 1].end));
}

std::string WithSchema(const DdlCommand& command);

}  // namespace

std::string WithWholeName(const DdlCommand& command) {
  return WithArguments(command, WithSchema(command));
}

namespace {

std::string WithSchema(const DdlCommand& command) {
  if (command.tag == "COMMENT") return CommentByWholeName(command);
  if (command.tag == "GRANT" || command.tag == "REVOKE") return GrantWithSchema(command);
  if (command.tag == "ALTER OPERATOR") return AlterOperatorWithSchema(command);
  const std::string& text = command.statement;
  const DdlWords words(text);
  const std::optional<Place> place = FindName(command, words);
  if (!place.has_value()) return text;
  const bool is_escaped = IsEscaped(words, place->name);
  if (words.IsSign(place->name + (is_escaped ? 3 : 1), '.')) return text;
  std::optional<std::string> written;
  if (!is_escaped) written = words.NameAt(place->name);
  const std::string schema = SchemaOf(command, written);
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

std::optional<TableName> WholeNameAt(const DdlWords& words, size_t at) {
  if (!words.IsName(at) || IsEscaped(words, at) || !words.IsSign(at + 1, '.') ||
      !words.IsName(at + 2) || IsEscaped(words, at + 2)) {
    return std::nullopt;
  }
  return TableName{words.NameAt(at), words.NameAt(at + 2)};
}

}  // namespace

std::optional<TableName> NamedTable(const DdlCommand& command) {
  if (command.tag != "ALTER TABLE" && command.tag != "CREATE TABLE") return std::nullopt;
  const std::string text = WithWholeName(command);
  const DdlWords words(text);
  const std::optional<Place> place = FindName(command, words);
  return place.has_value() ? WholeNameAt(words, place->name) : std::nullopt;
}

std::optional<TableName> NamedPartition(const DdlCommand& command) {
  const DdlWords words(command.statement);
  for (size_t i = 0; i < words.size(); ++i) {
    const bool is_action = words.Is(i, "ATTACH") || words.Is(i, "DETACH");
    if (words[i].depth > 0 || !is_action || !words.Is(i + 1, "PARTITION")) continue;
    // A table may have such a name.
    if (std::optional<TableName> found = WholeNameAt(words, i + 2); found.has_value()) return found;
  }
  return std::nullopt;
}

}  // namespace towline
