#include "config/expression_text.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace towline {
namespace {

// SQL that the source evaluates for every row; nobody writes one as long as that.
constexpr size_t kBytesMax = 64 << 10;

bool IsIdentifierStart(char c) {
  auto byte = static_cast<unsigned char>(c);
  return absl::ascii_isalpha(byte) || byte >= 0x80 || c == '_';
}
bool IsIdentifierPart(char c) {
  return IsIdentifierStart(c) || absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '$';
}
bool IsSpace(char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); }

absl::Status Unclosed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("has ", what, " that is not closed"));
}

// The tokens of PostgreSQL's scan.l as far as they hide other characters.
class Scanner {
 public:
  explicit Scanner(absl::string_view text) : left_(text) {}

  absl::Status Check() {
    while (!left_.empty()) {
      if (absl::StartsWith(left_, "--")) {
        SkipLine();
      } else if (absl::StartsWith(left_, "/*")) {
        TOWLINE_RETURN_IF_ERROR(SkipComment());
      } else if (left_.front() == '\'') {
        TOWLINE_RETURN_IF_ERROR(SkipString(/*has_escapes=*/false));
      } else if (left_.front() == '"') {
        TOWLINE_RETURN_IF_ERROR(SkipQuotedName());
      } else if (left_.front() == '$') {
        TOWLINE_RETURN_IF_ERROR(SkipDollar());
      } else if (IsIdentifierPart(left_.front())) {
        TOWLINE_RETURN_IF_ERROR(SkipWord());
      } else {
        TOWLINE_RETURN_IF_ERROR(TakeCharacter());
      }
    }
    if (!open_.empty()) return Unclosed(open_.back() == ')' ? "a \"(\"" : "a \"[\"");
    return absl::OkStatus();
  }

 private:
  void SkipLine() {
    size_t end = left_.find_first_of("\r\n");
    left_.remove_prefix(end == absl::string_view::npos ? left_.size() : end);
  }

  absl::Status SkipComment() {
    int depth = 0;
    while (!left_.empty()) {
      if (absl::ConsumePrefix(&left_, "/*")) {
        ++depth;
      } else if (absl::ConsumePrefix(&left_, "*/")) {
        if (--depth == 0) return absl::OkStatus();
      } else {
        left_.remove_prefix(1);
      }
    }
    return Unclosed("a comment");
  }

  // At the opening quote.
  absl::Status SkipString(bool has_escapes) {
    left_.remove_prefix(1);
    while (!left_.empty()) {
      char c = left_.front();
      left_.remove_prefix(1);
      if (has_escapes && c == '\\' && !left_.empty()) {
        left_.remove_prefix(1);
      } else if (c == '\'' && !absl::ConsumePrefix(&left_, "'")) {
        return has_escapes ? CheckNotContinued() : absl::OkStatus();
      }
    }
    return Unclosed("a string");
  }

  // A string that another one follows on a later line goes on in it, with the first one's escapes.
  // Nobody needs that; telling it from two strings is not worth the doubt.
  absl::Status CheckNotContinued() {
    Scanner ahead(left_);
    while (!ahead.left_.empty()) {
      if (absl::StartsWith(ahead.left_, "--")) {
        ahead.SkipLine();
      } else if (IsSpace(ahead.left_.front())) {
        ahead.left_.remove_prefix(1);
      } else {
        break;
      }
    }
    return absl::StartsWith(ahead.left_, "'")
               ? absl::InvalidArgumentError("continues an E'...' string; write it in one piece")
               : absl::OkStatus();
  }

  absl::Status SkipQuotedName() {
    left_.remove_prefix(1);
    size_t end = left_.find('"');  // a doubled quote begins the next name, as far as we care
    if (end == absl::string_view::npos) return Unclosed("a double quote");
    left_.remove_prefix(end + 1);
    return absl::OkStatus();
  }

  // $tag$ ... $tag$, or a parameter, or a stray sign that the server will refuse.
  absl::Status SkipDollar() {
    size_t end = 1;
    while (end < left_.size() && IsIdentifierPart(left_[end]) && left_[end] != '$') ++end;
    bool is_tag =
        end < left_.size() && left_[end] == '$' && (end == 1 || IsIdentifierStart(left_[1]));
    if (!is_tag) {
      left_.remove_prefix(1);
      return absl::OkStatus();
    }
    absl::string_view tag = left_.substr(0, end + 1);
    size_t close = left_.find(tag, tag.size());
    if (close == absl::string_view::npos) return Unclosed("a dollar quote");
    left_.remove_prefix(close + tag.size());
    return absl::OkStatus();
  }

  // An identifier, keyword or number; the dollar signs in it open nothing.
  absl::Status SkipWord() {
    bool has_escapes = left_.size() > 1 && (left_[0] == 'e' || left_[0] == 'E') && left_[1] == '\'';
    if (has_escapes) {
      left_.remove_prefix(1);
      return SkipString(/*has_escapes=*/true);
    }
    bool is_number = !IsIdentifierStart(left_.front());
    left_.remove_prefix(1);
    while (!left_.empty() && IsIdentifierPart(left_.front())) {
      // Older servers read 1e'...' and 1$$ as a number and what follows: so it is not ours to pass.
      if (is_number && !absl::ascii_isdigit(static_cast<unsigned char>(left_.front()))) break;
      left_.remove_prefix(1);
    }
    return absl::OkStatus();
  }

  absl::Status TakeCharacter() {
    char c = left_.front();
    left_.remove_prefix(1);
    if (c == ';') return absl::InvalidArgumentError("holds a semicolon: it must be one expression");
    if (c == '(' || c == '[') open_.push_back(c == '(' ? ')' : ']');
    if (c != ')' && c != ']') return absl::OkStatus();
    if (open_.empty() || open_.back() != c) {
      return absl::InvalidArgumentError(
          absl::StrCat("has a \"", std::string(1, c), "\" that closes nothing"));
    }
    open_.pop_back();
    return absl::OkStatus();
  }

  absl::string_view left_;
  std::string open_;  // what must close, the innermost last
};

}  // namespace

absl::Status CheckExpressionText(absl::string_view text) {
  if (absl::StripAsciiWhitespace(text).empty()) return absl::InvalidArgumentError("is empty");
  if (absl::StrContains(text, '\0')) {
    return absl::InvalidArgumentError("holds a character that SQL does not have (\\0)");
  }
  if (text.size() > kBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("must be at most ", kBytesMax, " bytes long"));
  }
  return Scanner(text).Check();
}

std::optional<std::string> LiteralValue(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  std::string value;
  if (absl::ConsumePrefix(&text, "'")) {
    while (true) {
      const size_t quote = text.find('\'');
      if (quote == absl::string_view::npos) return std::nullopt;
      absl::StrAppend(&value, text.substr(0, quote));
      text.remove_prefix(quote + 1);
      if (!absl::ConsumePrefix(&text, "'")) break;
      value += '\'';
    }
  } else {
    if (absl::ConsumePrefix(&text, "-")) value = "-";
    size_t digits = 0;
    while (digits < text.size() && absl::ascii_isdigit(static_cast<unsigned char>(text[digits]))) {
      ++digits;
    }
    if (digits == 0) return std::nullopt;
    absl::StrAppend(&value, text.substr(0, digits));
    text.remove_prefix(digits);
  }
  text = absl::StripLeadingAsciiWhitespace(text);
  if (text.empty()) return value;
  if (!absl::ConsumePrefix(&text, "::")) return std::nullopt;
  const bool is_type = std::all_of(text.begin(), text.end(), [](char c) {
    return IsIdentifierPart(c) || IsSpace(c) || c == '.' || c == '"';
  });
  return is_type ? std::optional<std::string>(value) : std::nullopt;
}

}  // namespace towline
