#include "apply/ddl_words.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

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

class Lexer {
 public:
  explicit Lexer(absl::string_view text) : text_(text) {}

  std::vector<DdlToken> Tokens() {
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

  void SkipQuoted(char quote, bool has_escapes) {
    for (++at_; at_ < text_.size(); ++at_) {
      if (has_escapes && text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == quote) {
        if (at_ + 1 >= text_.size() || text_[at_ + 1] != quote) break;
        ++at_;
      }
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
  std::vector<DdlToken> tokens_;
};

}  // namespace

DdlWords::DdlWords(absl::string_view text) : text_(text), tokens_(Lexer(text).Tokens()) {}

absl::string_view DdlWords::Text(size_t i) const {
  return text_.substr(tokens_[i].begin, tokens_[i].end - tokens_[i].begin);
}

bool DdlWords::Is(size_t i, absl::string_view word) const {
  return i < tokens_.size() && tokens_[i].is_word && absl::EqualsIgnoreCase(Text(i), word);
}

bool DdlWords::IsSign(size_t i, char sign) const {
  return i < tokens_.size() && text_[tokens_[i].begin] == sign;
}

bool DdlWords::IsName(size_t i) const { return i < tokens_.size() && tokens_[i].is_name; }

size_t DdlWords::BehindName(size_t first) const {
  size_t end = first + 1;
  while (IsSign(end, '.')) end += 2;
  return end;
}

std::string DdlWords::NameAt(size_t i) const {
  if (tokens_[i].is_word) return absl::AsciiStrToLower(Text(i));
  const absl::string_view quoted = Text(i);
  return absl::StrReplaceAll(quoted.substr(1, quoted.size() - 2), {{"\"\"", "\""}});
}

std::string DdlWords::Without(size_t first, size_t end) const {
  return absl::StrCat(text_.substr(0, tokens_[first].begin), text_.substr(tokens_[end - 1].end));
}

}  // namespace towline
