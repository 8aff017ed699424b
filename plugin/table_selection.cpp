#include "table_selection.h"

#include "error_context.h"
#include "table_names.h"
#include "table_patterns.h"

namespace towline::plugin {
namespace {

const char* Explain(PatternError error) {
  switch (error) {
    case PatternError::kNone:
      break;
    case PatternError::kEmpty:
      return "A pattern or a part of it is empty.";
    case PatternError::kTooManyParts:
      return "A pattern is a table or schema.table; a database cannot be named.";
    case PatternError::kUnclosedQuote:
      return "A double quote is not closed.";
  }
  return "";
}

bool MatchesRegex(text* regex, std::string_view name) {
  text* subject = cstring_to_text_with_len(name.data(), static_cast<int>(name.size()));
  return DatumGetBool(DirectFunctionCall2Coll(textregexeq, DEFAULT_COLLATION_OID,
                                              PointerGetDatum(subject), PointerGetDatum(regex)));
}

text* MakeRegex(const ByteBuffer& regex) {
  if (regex.size == 0) return nullptr;
  text* result = cstring_to_text_with_len(regex.data, static_cast<int>(regex.size));
  // The server refuses a malformed expression now rather than at the first table.
  (void)MatchesRegex(result, "");
  return result;
}

std::string_view TextOf(const ByteBuffer& buffer) { return {buffer.data, buffer.size}; }

struct PatternScratch {
  ByteBuffer schema;  // regular expressions, and the names that they stand for
  ByteBuffer name;
  ByteBuffer schema_literal;
  ByteBuffer name_literal;
};

void Empty(PatternScratch* scratch) {
  scratch->schema.size = scratch->name.size = 0;
  scratch->schema_literal.size = scratch->name_literal.size = 0;
}

bool AddName(PatternScratch* scratch, PatternList* list) {
  bool is_bare = scratch->schema.size == 0;
  if (!is_bare && !ReadLiteral(TextOf(scratch->schema), &scratch->schema_literal)) return false;
  if (!ReadLiteral(TextOf(scratch->name), &scratch->name_literal)) return false;
  TableName key;
  if (MakeTableName(TextOf(scratch->schema_literal), TextOf(scratch->name_literal), &key)) {
    if (list->names == nullptr) {
      list->names = CreateNameTable("towline table names", sizeof(TableName));
    }
    (void)hash_search(list->names, &key, HASH_ENTER, nullptr);
    list->has_bare_names |= is_bare;
  }
  return true;
}

void AddWildcard(const PatternScratch& scratch, size_t* capacity, PatternList* list) {
  if (list->wildcard_count == *capacity) {
    *capacity *= 2;
    list->wildcards = static_cast<WildcardPattern*>(
        repalloc(list->wildcards, *capacity * sizeof(WildcardPattern)));
  }
  list->wildcards[list->wildcard_count++] = {MakeRegex(scratch.schema), MakeRegex(scratch.name)};
}

void NameOption(void* option) {
  errcontext("output plugin option \"%s\"", static_cast<const char*>(option));
}

bool HasName(const PatternList& list, std::string_view schema, std::string_view name) {
  TableName key;
  return MakeTableName(schema, name, &key) &&
         hash_search(list.names, &key, HASH_FIND, nullptr) != nullptr;
}

}  // namespace

void ParsePatternList(const char* option, const char* value, PatternList* list) {
  *list = {};
  list->is_given = true;
  size_t capacity = 8;
  list->wildcards = static_cast<WildcardPattern*>(palloc(capacity * sizeof(WildcardPattern)));
  auto make_buffer = [] { return ByteBuffer{static_cast<char*>(palloc(256)), 0, 256}; };
  PatternScratch scratch{make_buffer(), make_buffer(), make_buffer(), make_buffer()};
  ErrorContextCallback context = {error_context_stack, NameOption, const_cast<char*>(option)};
  error_context_stack = &context;
  PatternReader reader{std::string_view(value, strlen(value)), 0};
  bool is_last = false;
  while (!is_last) {
    CHECK_FOR_INTERRUPTS();
    Empty(&scratch);
    PatternError error = ReadPattern(&reader, &scratch.schema, &scratch.name, &is_last);
    if (error != PatternError::kNone) {
      ereport(
          ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
           errmsg("invalid value for output plugin option \"%s\": \"%s\"", option, CutText(value)),
           errdetail("At character %zu: %s", reader.at + 1, Explain(error)),
           errhint("Patterns are written as in psql, separated by commas: schema.table with * "
                   "and ?, \"double quotes\" keep upper case and special characters.")));
    }
    if (!AddName(&scratch, list)) AddWildcard(scratch, &capacity, list);
  }
  error_context_stack = context.previous;
}

bool MatchesAny(const PatternList& list, std::string_view schema, std::string_view name) {
  if (list.names != nullptr) {
    if (HasName(list, schema, name)) return true;
    if (list.has_bare_names && HasName(list, {}, name)) return true;
  }
  for (size_t i = 0; i < list.wildcard_count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const WildcardPattern& pattern = list.wildcards[i];
    if (pattern.schema_regex != nullptr && !MatchesRegex(pattern.schema_regex, schema)) continue;
    if (MatchesRegex(pattern.name_regex, name)) return true;
  }
  return false;
}

}  // namespace towline::plugin
