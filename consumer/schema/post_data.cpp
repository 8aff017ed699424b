#include "schema/post_data.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "pg/quoting.h"

namespace towline {
namespace {

constexpr char kNotValid[] = " NOT VALID";

bool TakeRelation(absl::string_view* text, TableName* relation) {
  return TakeQuotedName(text, &relation->schema) && absl::ConsumePrefix(text, ".") &&
         TakeQuotedName(text, &relation->name);
}

// pg_dump breaks the line before ADD CONSTRAINT.
void SkipBlanks(absl::string_view* text) { *text = absl::StripLeadingAsciiWhitespace(*text); }

bool StartsWithAny(absl::string_view text, std::initializer_list<absl::string_view> beginnings) {
  for (absl::string_view beginning : beginnings) {
    if (absl::StartsWith(text, beginning)) return true;
  }
  return false;
}

// What follows the table's or constraint's name: ... ("a", "b" DESC) INCLUDE ("c") WITH ("k"='v')
// WHERE (...). A parenthesis within a list is an expression's, or an operator's.
bool IsOfColumnsAlone(absl::string_view text) {
  int depth = 0;
  while (!text.empty()) {
    const char here = text.front();
    if (depth == 0 && absl::StartsWith(text, " WHERE ")) return false;
    text.remove_prefix(1);
    if (here == '"' || here == '\'') {
      const size_t end = text.find(here);
      if (end == absl::string_view::npos) return false;
      text.remove_prefix(end + 1);
    } else if (here == '(') {
      if (++depth > 1) return false;
    } else if (here == ')') {
      --depth;
    }
  }
  return true;
}

PostData ClassifyIndex(absl::string_view text, bool is_unique) {
  PostData index;
  index.is_unique = is_unique;
  if (!TakeQuotedName(&text, &index.name) || !absl::ConsumePrefix(&text, " ON ")) return {};
  absl::ConsumePrefix(&text, "ONLY ");
  if (!TakeRelation(&text, &index.table)) return {};
  index.kind = PostDataKind::kIndex;
  index.is_plain = IsOfColumnsAlone(text);
  return index;
}

// ("a", "b") REFERENCES "s"."t"(...
bool TakeReferenced(absl::string_view text, TableName* table) {
  std::string column;
  while (!text.empty() && text.front() != ')') {
    if (text.front() != '"') {
      text.remove_prefix(1);
    } else if (!TakeQuotedName(&text, &column)) {
      return false;
    }
  }
  return absl::ConsumePrefix(&text, ") REFERENCES ") && TakeRelation(&text, table);
}

PostData ClassifyConstraint(absl::string_view text, TableName table) {
  PostData constraint;
  if (!TakeQuotedName(&text, &constraint.name)) return {};
  if (StartsWithAny(text, {" PRIMARY KEY ", " UNIQUE ", " EXCLUDE "})) {
    constraint.kind = PostDataKind::kKey;
    constraint.is_plain = IsOfColumnsAlone(text);
    constraint.is_unique = true;
    constraint.is_primary = absl::StartsWith(text, " PRIMARY KEY ");
  } else if (absl::ConsumePrefix(&text, " FOREIGN KEY ")) {
    constraint.kind = PostDataKind::kForeignKey;
    if (!TakeReferenced(text, &constraint.referenced)) constraint.referenced = {};
  } else if (absl::StartsWith(text, " CHECK ")) {
    constraint.kind = PostDataKind::kDetail;
  } else {
    return {};
  }
  constraint.table = std::move(table);
  return constraint;
}

PostData ClassifyAlterTable(absl::string_view text) {
  absl::ConsumePrefix(&text, "ONLY ");
  TableName table;
  if (!TakeRelation(&text, &table)) return {};
  SkipBlanks(&text);
  if (absl::ConsumePrefix(&text, "ADD CONSTRAINT ")) {
    return ClassifyConstraint(text, std::move(table));
  }
  PostData found;
  if (absl::ConsumePrefix(&text, "VALIDATE CONSTRAINT ")) {
    if (!TakeQuotedName(&text, &found.name)) return {};
    found.kind = PostDataKind::kValidation;
    found.table = std::move(table);
  } else if (StartsWithAny(text, {"CLUSTER ON ", "REPLICA IDENTITY USING INDEX "})) {
    found.kind = PostDataKind::kDetail;
  }
  return found;
}

// COMMENT ON CONSTRAINT "k" ON "s"."t"
bool IsCommentOnOneOf(absl::string_view text,
                      const std::set<std::pair<TableName, std::string>>& constraints) {
  std::string name;
  TableName table;
  return absl::ConsumePrefix(&text, "COMMENT ON CONSTRAINT ") && TakeQuotedName(&text, &name) &&
         absl::ConsumePrefix(&text, " ON ") && TakeRelation(&text, &table) &&
         constraints.contains({table, name});
}

// Of a partitioned table pg_dump adds it without ONLY.
bool IsValidatedApart(absl::string_view statement, const PostData& foreign_key,
                      const std::set<TableName>& partitioned) {
  return absl::StartsWith(statement, "ALTER TABLE ONLY ") &&
         !absl::EndsWith(statement, kNotValid) && !absl::EndsWith(statement, " NOT ENFORCED") &&
         !foreign_key.referenced.name.empty() && !partitioned.contains(foreign_key.referenced);
}

// A unique index or constraint of a table in `early`, and none of those that it names.
bool HasToWait(const PostData& found, const EarlyKeys& early) {
  if (!found.is_unique) return false;
  auto table = early.find(found.table);
  return table != early.end() && !table->second.contains(found.name);
}

// Whether it speaks of one of them, as of an index that it attaches or comments. One of another
// schema may bear the name as well, and loses nothing.
bool NamesOneOf(const std::string& statement, const std::set<std::string>& quoted) {
  return std::any_of(quoted.begin(), quoted.end(), [&statement](const std::string& name) {
    return absl::StrContains(statement, name);
  });
}

void Append(std::vector<DumpStatement>&& more, std::vector<DumpStatement>* to) {
  for (DumpStatement& statement : more) to->push_back(std::move(statement));
}

}  // namespace

PostData ClassifyPostData(absl::string_view text) {
  PostData found;
  if (absl::ConsumePrefix(&text, "CREATE INDEX ")) return ClassifyIndex(text, false);
  if (absl::ConsumePrefix(&text, "CREATE UNIQUE INDEX ")) return ClassifyIndex(text, true);
  if (absl::ConsumePrefix(&text, "ALTER TABLE ")) return ClassifyAlterTable(text);
  if (StartsWithAny(
          text, {"CREATE EVENT TRIGGER ", "ALTER EVENT TRIGGER ", "COMMENT ON EVENT TRIGGER "})) {
    found.kind = PostDataKind::kEventTrigger;
  } else if (StartsWithAny(text, {"ALTER INDEX ", "COMMENT ON "})) {
    found.kind = PostDataKind::kDetail;
  } else if (absl::StartsWith(text, "REFRESH MATERIALIZED VIEW ")) {
    found.kind = PostDataKind::kRefresh;
  }
  return found;
}

SplitPostData SplitByTime(const std::vector<DumpStatement>& post,
                          const std::set<TableName>& partitioned, const EarlyKeys& early) {
  SplitPostData split;
  std::vector<DumpStatement> settings;
  std::vector<DumpStatement> uniques;
  std::vector<DumpStatement> details;  // of those
  std::vector<DumpStatement> foreign_keys;
  std::vector<DumpStatement> validations;
  std::vector<DumpStatement> refreshes;
  std::vector<DumpStatement> event_triggers;
  std::set<std::pair<TableName, std::string>> names;
  std::set<std::string> waiting;  // quoted names of uniques
  for (const DumpStatement& statement : post) {
    PostData found = ClassifyPostData(statement.text);
    if (statement.is_setting) {
      settings.push_back(statement);
      split.indexing.push_back(statement);
    } else if (found.kind == PostDataKind::kForeignKey) {
      names.insert({found.table, found.name});
      foreign_keys.push_back(statement);
      if (!IsValidatedApart(statement.text, found, partitioned)) continue;
      foreign_keys.back().text += kNotValid;
      validations.push_back({ValidationOf(foreign_keys.back().text)});
    } else if (IsCommentOnOneOf(statement.text, names)) {
      foreign_keys.push_back(statement);
    } else if (found.kind == PostDataKind::kRefresh) {
      refreshes.push_back(statement);
    } else if (found.kind == PostDataKind::kEventTrigger) {
      event_triggers.push_back(statement);
    } else if (HasToWait(found, early)) {
      waiting.insert(QuoteIdentifier(found.name));
      uniques.push_back(statement);
    } else if (found.kind == PostDataKind::kDetail && NamesOneOf(statement.text, waiting)) {
      details.push_back(statement);
    } else {
      split.indexing.push_back(statement);
    }
  }
  for (std::vector<DumpStatement>* some :
       {&uniques, &details, &foreign_keys, &validations, &refreshes, &event_triggers}) {
    Append(std::move(*some), &split.final);
  }
  if (!split.final.empty()) {
    split.final.insert(split.final.begin(), settings.begin(), settings.end());
  }
  return split;
}

std::string UniqueThatCannotWait(const std::vector<DumpStatement>& post, const TableName& table,
                                 const std::set<std::string>& early) {
  const EarlyKeys keys = {{table, early}};
  for (const DumpStatement& statement : post) {
    const PostData found = ClassifyPostData(statement.text);
    if (!HasToWait(found, keys)) continue;
    // A view that groups by it does not name it.
    if (found.is_primary) return found.name;
    const std::set<std::string> quoted = {QuoteIdentifier(found.name)};
    for (const DumpStatement& other : post) {
      const bool may_need_it = ClassifyPostData(other.text).kind == PostDataKind::kOther;
      if (may_need_it && NamesOneOf(other.text, quoted)) return found.name;
    }
  }
  return "";
}

std::string ValidationOf(absl::string_view foreign_key) {
  PostData found = ClassifyPostData(foreign_key);
  if (found.kind != PostDataKind::kForeignKey || !absl::EndsWith(foreign_key, kNotValid)) return "";
  return absl::StrCat("ALTER TABLE ONLY ", QuoteQualified(found.table.schema, found.table.name),
                      " VALIDATE CONSTRAINT ", QuoteIdentifier(found.name));
}

}  // namespace towline
