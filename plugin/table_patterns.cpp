#include "table_patterns.h"

namespace towline::plugin {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool IsRegexSpecial(char c) {
  return c != '\0' && std::string_view("|*+?()[]{}.^$\\").find(c) != std::string_view::npos;
}

// The server folds only ASCII in multi-byte encodings.
char Fold(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// One name, up to a dot, a comma or the end. Blanks around it do not belong to it.
PatternError ReadName(PatternReader* reader, ByteBuffer* regex) {
  std::string_view list = reader->list;
  AppendBytes(regex, "^(");
  size_t start = regex->size;
  size_t end = start;  // without trailing blanks
  bool in_quotes = false;
  for (; reader->at < list.size(); ++reader->at) {
    char c = list[reader->at];
    char next = reader->at + 1 < list.size() ? list[reader->at + 1] : '\0';
    if (in_quotes) {
      if (c == '"' && next != '"') {
        in_quotes = false;
        continue;
      }
      if (c == '"') ++reader->at;
      if (IsRegexSpecial(c)) AppendBytes(regex, "\\");
      AppendBytes(regex, &c, 1);
      end = regex->size;
      continue;
    }
    if (c == '.' || c == ',') break;
    if (IsSpace(c)) {
      if (end > start) AppendBytes(regex, &c, 1);
      continue;
    }
    if (c == '"') {
      in_quotes = true;
      continue;
    }
    if (c == '*') {
      AppendBytes(regex, ".*");
    } else if (c == '?') {
      AppendBytes(regex, ".");
    } else if (c == '$' || (c == '[' && next == ']')) {
      // A dollar is a letter of names more often than an anchor.
      AppendBytes(regex, "\\");
      AppendBytes(regex, &c, 1);
    } else {
      c = Fold(c);
      AppendBytes(regex, &c, 1);
    }
    end = regex->size;
  }
  if (in_quotes) return PatternError::kUnclosedQuote;
  if (end == start) return PatternError::kEmpty;
  regex->size = end;
  AppendBytes(regex, ")$");
  return PatternError::kNone;
}

bool SkipDot(PatternReader* reader) {
  if (reader->at >= reader->list.size() || reader->list[reader->at] != '.') return false;
  ++reader->at;
  return true;
}

}  // namespace

PatternError ReadPattern(PatternReader* reader, ByteBuffer* schema_regex, ByteBuffer* name_regex,
                         bool* is_last) {
  PatternError error = ReadName(reader, name_regex);
  if (error != PatternError::kNone) return error;
  if (SkipDot(reader)) {
    AppendBytes(schema_regex, name_regex->data, name_regex->size);
    name_regex->size = 0;
    error = ReadName(reader, name_regex);
    if (error != PatternError::kNone) return error;
    if (SkipDot(reader)) return PatternError::kTooManyParts;
  }
  *is_last = reader->at >= reader->list.size();
  if (!*is_last) ++reader->at;  // the comma
  return PatternError::kNone;
}

bool ReadLiteral(std::string_view regex, ByteBuffer* name) {
  constexpr std::string_view kBegin = "^(", kEnd = ")$";
  std::string_view inner = regex;
  inner.remove_prefix(kBegin.size());
  inner.remove_suffix(kEnd.size());
  for (size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] == '\\') {
      // Before a letter or digit a backslash means something else than that character.
      if (++i == inner.size() || !IsRegexSpecial(inner[i])) return false;
    } else if (IsRegexSpecial(inner[i]) && inner[i] != ']') {
      return false;
    }
    AppendBytes(name, &inner[i], 1);
  }
  return true;
}

}  // namespace towline::plugin
