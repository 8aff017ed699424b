#include "apply/ddl_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace towline {
namespace {

bool IsBlank(char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); }

bool IsLetter(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_' ||
         static_cast<unsigned char>(c) >= 128;
}

bool IsOfWord(char c) {
  return IsLetter(c) || absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '$';
}

struct Token {
  size_t begin = 0;
  size_t end = 0;
  bool is_word = false;  // not quoted
  bool is_name = false;  // a word, or a quoted name
  int depth = 0;         // of parentheses around it
};

// Words, names, and single characters of all else; strings are one token, comments none.
class Lexer {
 public:
  explicit Lexer(absl::string_view text) : text_(text) {}

  std::vector<Token> Tokens() {
    while (at_ < text_.size()) Step();
    return std::move(tokens_);
  }

 private:
  bool Sees(absl::string_view what) const { return absl::StartsWith(text_.substr(at_), what); }

  void Add(size_t begin, bool is_word, bool is_name) {
    tokens_.push_back({begin, at_, is_word, is_name, depth_});
  }

  void Step() {
    const size_t begin = at_;
    const char c = text_[at_];
    if (IsBlank(c)) {
      ++at_;
    } else if (Sees("--")) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (Sees("/*")) {
      SkipComment();
    } else if (c == '\'' || c == '"') {
      SkipQuoted(c, /*has_escapes=*/false);
      Add(begin, false, c == '"');
    } else if (Sees("E'") || Sees("e'")) {
      ++at_;
      SkipQuoted('\'', /*has_escapes=*/true);
      Add(begin, false, false);
    } else if (c == '$') {
      SkipDollarQuoted();
      Add(begin, false, false);
    } else if (IsLetter(c)) {
      while (at_ < text_.size() && IsOfWord(text_[at_])) ++at_;
      Add(begin, true, true);
    } else {
      ++at_;
      if (c == ')') --depth_;
      Add(begin, false, false);
      if (c == '(') ++depth_;
    }
  }

  void SkipComment() {
    int depth = 0;
    do {
      if (Sees("/*")) {
        ++depth;
        at_ += 2;
      } else if (Sees("*/")) {
        --depth;
        at_ += 2;
      } else {
        ++at_;
      }
    } while (depth > 0 && at_ < text_.size());
  }

  // Doubled quotes are two quoted parts side by side, which makes no difference here.
  void SkipQuoted(char quote, bool has_escapes) {
    for (++at_; at_ < text_.size() && text_[at_] != quote; ++at_) {
      if (has_escapes && text_[at_] == '\\') ++at_;
    }
    at_ = std::min(at_ + 1, text_.size());
  }

  void SkipDollarQuoted() {
    size_t end = at_ + 1;
    while (end < text_.size() && IsOfWord(text_[end]) && text_[end] != '$') ++end;
    if (end >= text_.size() || text_[end] != '$') {
      ++at_;
      return;
    }
    const absl::string_view tag = text_.substr(at_, end + 1 - at_);
    const size_t close = text_.find(tag, end + 1);
    at_ = close == absl::string_view::npos ? text_.size() : close + tag.size();
  }

  absl::string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  std::vector<Token> tokens_;
};

class Words {
 public:
  explicit Words(absl::string_view text) : text_(text), tokens_(Lexer(text).Tokens()) {}

  size_t size() const { return tokens_.size(); }
  const Token& operator[](size_t i) const { return tokens_[i]; }
  bool Is(size_t i, absl::string_view word) const {
    return i < tokens_.size() && tokens_[i].is_word &&
           absl::EqualsIgnoreCase(text_.substr(tokens_[i].begin, tokens_[i].end - tokens_[i].begin),
                                  word);
  }
  bool IsSign(size_t i, char sign) const {
    return i < tokens_.size() && text_[tokens_[i].begin] == sign;
  }
  // Of a name that may be qualified.
  size_t BehindName(size_t first) const {
    size_t end = first + 1;
    while (IsSign(end, '.')) end += 2;
    return end;
  }
  // The text without the tokens [first, end).
  std::string Without(size_t first, size_t end) const {
    return absl::StrCat(text_.substr(0, tokens_[first].begin), text_.substr(tokens_[end - 1].end));
  }

 private:
  absl::string_view text_;
  std::vector<Token> tokens_;
};

}  // namespace

std::string WithoutConcurrently(absl::string_view statement) {
  const Words words(statement);
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

std::string WithNoData(absl::string_view statement) {
  const Words words(statement);
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
    const Words words(text);
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
  const Words words(select_into);
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
  const Words words(drop);
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
  const Words words(create_schema);
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

std::string AsDropOf(absl::string_view drop_table, const std::vector<std::string>& tables) {
  const Words words(drop_table);
  const bool cascades =
      words.Is(words.size() - 1, "CASCADE") && !words.IsSign(words.size() - 2, '.');
  return absl::StrCat("DROP TABLE IF EXISTS ", absl::StrJoin(tables, ", "),
                      cascades ? " CASCADE" : "");
}

}  // namespace towline
