#include "table_patterns.h"

namespace towline {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// In psql these have a meaning as regular expressions. Taking them literally would match other
// tables than psql does, so they are refused outside of quotes.
bool IsRegexCharacter(char c) {
  return c != '\0' && std::string_view("|+()[]{}^\\").find(c) != std::string_view::npos;
}

// The server folds only ASCII in multi-byte encodings.
char Fold(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool IsUtf8Continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

struct Parser {
  std::string_view list;
  size_t at;
  char* bytes;
  bool* is_special;
  size_t used;

  bool AtEnd() const { return at >= list.size(); }

  void Put(char c, bool special) {
    bytes[used] = c;
    is_special[used] = special;
    ++used;
  }

  // One name up to a dot, a comma or the end.
  PatternError ParseName(NamePattern* name) {
    size_t start = used;
    size_t kept = used;  // end without trailing blanks
    bool in_quotes = false;
    for (; !AtEnd(); ++at) {
      char c = list[at];
      if (in_quotes) {
        if (c != '"') {
          Put(c, false);
        } else if (at + 1 < list.size() && list[at + 1] == '"') {
          Put('"', false);
          ++at;
        } else {
          in_quotes = false;
        }
        kept = used;
        continue;
      }
      if (c == '.' || c == ',') break;
      if (c == '"') {
        in_quotes = true;
      } else if (IsRegexCharacter(c)) {
        return PatternError::kSpecialCharacter;
      } else if (IsSpace(c)) {
        if (used > start) Put(c, false);
      } else {
        Put(Fold(c), c == '*' || c == '?');
        kept = used;
      }
    }
    if (in_quotes) return PatternError::kUnclosedQuote;
    if (kept == start) return PatternError::kEmpty;
    used = kept;
    *name = {bytes + start, is_special + start, kept - start};
    return PatternError::kNone;
  }
};

}  // namespace

PatternError ParseTablePatterns(std::string_view list, TablePattern* patterns, size_t* count,
                                char* bytes, bool* is_special, size_t* error_at) {
  Parser parser{list, 0, bytes, is_special, 0};
  *count = 0;
  PatternError error = PatternError::kNone;
  for (;;) {
    TablePattern pattern{false, {}, {}};
    error = parser.ParseName(&pattern.name);
    if (error == PatternError::kNone && !parser.AtEnd() && list[parser.at] == '.') {
      ++parser.at;
      pattern.has_schema = true;
      pattern.schema = pattern.name;
      error = parser.ParseName(&pattern.name);
      if (error == PatternError::kNone && !parser.AtEnd() && list[parser.at] == '.') {
        error = PatternError::kTooManyParts;
      }
    }
    if (error != PatternError::kNone) break;
    patterns[(*count)++] = pattern;
    if (parser.AtEnd()) break;
    ++parser.at;  // the comma
  }
  *error_at = parser.at;
  return error;
}

bool Matches(const NamePattern& pattern, std::string_view name) {
  // The usual walk with one place to come back to: the last *.
  size_t p = 0, n = 0;
  size_t star = std::string_view::npos, star_name = 0;
  while (n < name.size()) {
    if (p < pattern.size && pattern.is_special[p] && pattern.bytes[p] == '*') {
      star = p++;
      star_name = n;
    } else if (p < pattern.size && pattern.is_special[p]) {
      // ? is one character, not one byte.
      for (++n; n < name.size() && IsUtf8Continuation(name[n]);) ++n;
      ++p;
    } else if (p < pattern.size && pattern.bytes[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  while (p < pattern.size && pattern.is_special[p] && pattern.bytes[p] == '*') ++p;
  return p == pattern.size;
}

bool Matches(const TablePattern& pattern, std::string_view schema, std::string_view name) {
  return (!pattern.has_schema || Matches(pattern.schema, schema)) && Matches(pattern.name, name);
}

}  // namespace towline
