#include "schema/script_splitter.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace towline {
namespace {

// As the server's and psql's lexers have them (scan.l, psqlscan.l): bytes above 127 are letters.
bool IsIdentifierStart(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_' ||
         static_cast<unsigned char>(c) >= 128;
}
bool IsIdentifierPart(char c) {
  return IsIdentifierStart(c) || absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '$';
}
bool IsSpace(char c) { return absl::string_view(" \t\n\r\f\v").find(c) != absl::string_view::npos; }

class Splitter {
 public:
  explicit Splitter(absl::string_view script) : script_(script) {}

  absl::StatusOr<std::vector<ScriptStatement>> Split() {
    while (at_ < script_.size()) {
      if (absl::Status status = Step(); !status.ok()) return status;
    }
    if (statement_start_ != kNone) return CutOff("a statement");
    return std::move(statements_);
  }

 private:
  static constexpr size_t kNone = absl::string_view::npos;

  absl::Status CutOff(absl::string_view what) const {
    return absl::DataLossError(absl::StrCat("the schema dump ends within ", what));
  }
  char Peek(size_t ahead) const {
    return at_ + ahead < script_.size() ? script_[at_ + ahead] : '\0';
  }
  void Begin() {
    if (statement_start_ == kNone) statement_start_ = at_;
  }

  // Passes over one token.
  absl::Status Step() {
    char c = Peek(0);
    if (IsSpace(c)) {
      ++at_;
      return absl::OkStatus();
    }
    if (c == '-' && Peek(1) == '-') {
      size_t start = at_;
      absl::Status status = SkipLineComment();
      if (statement_start_ == kNone) absl::StrAppend(&heading_, script_.substr(start, at_ - start));
      return status;
    }
    if (c == '/' && Peek(1) == '*') return SkipBlockComment();
    if (c == ';' && paren_depth_ == 0 && begin_depth_ == 0) {
      End();
      return absl::OkStatus();
    }
    if (c == '\\' && statement_start_ == kNone) return SkipMetaCommand();
    Begin();
    if (c == '\'') return SkipString(/*has_backslash_escapes=*/false);
    if ((c == 'e' || c == 'E') && Peek(1) == '\'') {
      ++at_;
      return SkipString(/*has_backslash_escapes=*/true);
    }
    if (c == '"') return SkipUntilQuote('"', false, "a quoted name");
    if (c == '$') return SkipDollar();
    if (IsIdentifierStart(c)) {
      TakeWord();
      return absl::OkStatus();
    }
    if (c == '(') ++paren_depth_;
    if (c == ')' && paren_depth_ > 0) --paren_depth_;
    ++at_;
    return absl::OkStatus();
  }

  void End() {
    if (statement_start_ != kNone) {
      absl::string_view text = script_.substr(statement_start_, at_ - statement_start_);
      statements_.push_back(
          {std::string(absl::StripTrailingAsciiWhitespace(text)), std::move(heading_)});
      heading_.clear();
    }
    ++at_;
    statement_start_ = kNone;
    word_count_ = 0;
    words_.clear();
  }

  absl::Status SkipLineComment() {
    size_t end = script_.find('\n', at_);
    at_ = end == kNone ? script_.size() : end + 1;
    return absl::OkStatus();
  }

  absl::Status SkipBlockComment() {
    int depth = 0;
    while (at_ < script_.size()) {
      if (Peek(0) == '/' && Peek(1) == '*') {
        ++depth;
        at_ += 2;
      } else if (Peek(0) == '*' && Peek(1) == '/') {
        at_ += 2;
        if (--depth == 0) return absl::OkStatus();
      } else {
        ++at_;
      }
    }
    return CutOff("a comment");
  }

  // \restrict and \unrestrict take one line each; they guard psql against text that would be read
  // as its commands, which cannot happen here.
  absl::Status SkipMetaCommand() {
    absl::string_view line = script_.substr(at_);
    line = line.substr(0, line.find('\n'));
    if (!absl::StartsWith(line, "\\restrict") && !absl::StartsWith(line, "\\unrestrict")) {
      return absl::UnimplementedError(absl::StrCat(
          "the schema dump has a psql command that is not known: ", line.substr(0, 40)));
    }
    return SkipLineComment();
  }

  // From an opening quote to behind the closing one. A doubled quote closes and opens again, which
  // comes to the same.
  absl::Status SkipUntilQuote(char quote, bool has_backslash_escapes, absl::string_view what) {
    ++at_;
    while (at_ < script_.size()) {
      char c = script_[at_];
      if (c == '\\' && has_backslash_escapes) {
        at_ += 2;
      } else if (c != quote) {
        ++at_;
      } else if (Peek(1) == quote) {
        at_ += 2;
      } else {
        ++at_;
        return absl::OkStatus();
      }
    }
    return CutOff(what);
  }

  // A string goes on behind a line break ('a' newline 'b' is one string), in the same kind: an E''
  // string's second line knows backslashes although no E stands before it.
  absl::Status SkipString(bool has_backslash_escapes) {
    while (true) {
      absl::Status status = SkipUntilQuote('\'', has_backslash_escapes, "a string");
      if (!status.ok()) return status;
      size_t next = at_;
      bool has_newline = false;
      while (next < script_.size()) {
        if (script_[next] == '\n' || script_[next] == '\r') {
          has_newline = true;
          ++next;
        } else if (IsSpace(script_[next])) {
          ++next;
        } else if (has_newline && script_.substr(next, 2) == "--") {
          size_t end = script_.find('\n', next);
          next = end == kNone ? script_.size() : end;
        } else {
          break;
        }
      }
      if (!has_newline || next >= script_.size() || script_[next] != '\'') {
        return absl::OkStatus();
      }
      at_ = next;
    }
  }

  // $$...$$ or $tag$...$tag$; anything else ($1, a lone dollar) is passed over.
  absl::Status SkipDollar() {
    size_t end = at_ + 1;
    auto is_tag_part = [this](size_t i) {
      return IsIdentifierPart(script_[i]) && script_[i] != '$';
    };
    if (end < script_.size() && IsIdentifierStart(script_[end])) {
      while (end < script_.size() && is_tag_part(end)) ++end;
    }
    if (end >= script_.size() || script_[end] != '$') {
      ++at_;
      return absl::OkStatus();
    }
    absl::string_view tag = script_.substr(at_, end - at_ + 1);
    size_t close = script_.find(tag, end + 1);
    if (close == kNone) return CutOff("a dollar-quoted string");
    at_ = close + tag.size();
    return absl::OkStatus();
  }

  // In CREATE [OR REPLACE] {FUNCTION|PROCEDURE}, outside parentheses, BEGIN opens a body whose
  // semicolons are inside; CASE within it has an END of its own (psqlscan.l, {identifier}).
  void TakeWord() {
    size_t start = at_;
    while (at_ < script_.size() && IsIdentifierPart(script_[at_])) ++at_;
    std::string word = absl::AsciiStrToLower(script_.substr(start, at_ - start));
    if (word_count_ < 4) {
      ++word_count_;
      absl::StrAppend(&words_, word, " ");
    }
    if (paren_depth_ != 0 || !IsRoutine()) return;
    if (word == "begin") {
      ++begin_depth_;
    } else if (word == "case") {
      if (begin_depth_ > 0) ++begin_depth_;
    } else if (word == "end") {
      if (begin_depth_ > 0) --begin_depth_;
    }
  }

  bool IsRoutine() const {
    for (absl::string_view start :
         {"create function ", "create procedure ", "create or replace function ",
          "create or replace procedure "}) {
      if (absl::StartsWith(words_, start)) return true;
    }
    return false;
  }

  absl::string_view script_;
  size_t at_ = 0;
  size_t statement_start_ = kNone;
  int paren_depth_ = 0;
  int begin_depth_ = 0;
  int word_count_ = 0;
  std::string words_;  // the statement's first four, lower-case, each followed by a blank
  std::string heading_;
  std::vector<ScriptStatement> statements_;
};

}  // namespace

absl::StatusOr<std::vector<ScriptStatement>> SplitScript(absl::string_view script) {
  return Splitter(script).Split();
}

}  // namespace towline
