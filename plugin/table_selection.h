// Which tables a list of patterns means (table_patterns.h). Patterns without a wildcard go to a
// hash table, so that thousands of names cost what one costs; the others are matched one by one by
// the server's own ~ operator.
#pragma once

#include "pg_headers.h"

namespace towline::plugin {

struct WildcardPattern {
  text* schema_regex;  // null: every schema
  text* name_regex;
};

struct PatternList {
  bool is_given;
  HTAB* names;          // of TableName; null if there are none
  bool has_bare_names;  // some of them stand for every schema
  WildcardPattern* wildcards;
  size_t wildcard_count;
};

// Parses in the current memory context, which must live as long as the list. Raises an error that
// names the option.
void ParsePatternList(const char* option, const char* value, PatternList* list);

// Whether the table `schema.name` matches a pattern of the list. Leaves garbage in the current
// memory context.
bool MatchesAny(const PatternList& list, std::string_view schema, std::string_view name);

}  // namespace towline::plugin
