#include "precheck/standby_names.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace towline {
namespace {

struct Token {
  std::string text;     // of a name without its quotes
  bool is_name = true;  // else a parenthesis or a comma
  size_t begin = 0;     // its place in the setting
  size_t end = 0;
};

bool IsSpace(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool IsMark(char c) { return c == '(' || c == ')' || c == ','; }

Token QuotedName(absl::string_view setting, size_t begin) {
  Token token;
  token.begin = begin;
  size_t at = begin + 1;
  for (; at < setting.size(); ++at) {
    if (setting[at] == '"') {
      if (at + 1 == setting.size() || setting[at + 1] != '"') break;
      ++at;  // two quotes are one
    }
    token.text.push_back(setting[at]);
  }
  token.end = std::min(at + 1, setting.size());
  return token;
}

std::vector<Token> TokensOf(absl::string_view setting) {
  std::vector<Token> tokens;
  size_t at = 0;
  while (at < setting.size()) {
    if (IsSpace(setting[at])) {
      ++at;
      continue;
    }
    Token token;
    token.begin = at;
    if (setting[at] == '"') {
      token = QuotedName(setting, at);
    } else if (IsMark(setting[at])) {
      token.text = setting[at];
      token.is_name = false;
      token.end = at + 1;
    } else {
      size_t end = at;
      while (end < setting.size() && !IsSpace(setting[end]) && !IsMark(setting[end])) ++end;
      token.text = std::string(setting.substr(at, end - at));
      token.end = end;
    }
    at = token.end;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// Without what stands before the parenthesis: FIRST, ANY and the number.
std::vector<Token> NamesOf(absl::string_view setting) {
  std::vector<Token> names;
  for (Token& token : TokensOf(setting)) {
    if (!token.is_name && token.text == "(") names.clear();
    if (token.is_name) names.push_back(std::move(token));
  }
  return names;
}

}  // namespace

std::vector<std::string> SynchronousNames(absl::string_view setting) {
  std::vector<std::string> names;
  for (Token& name : NamesOf(setting)) names.push_back(std::move(name.text));
  return names;
}

bool CountsAsSynchronous(absl::string_view setting, absl::string_view application_name) {
  for (const std::string& name : SynchronousNames(setting)) {
    if (name == "*" || absl::EqualsIgnoreCase(name, application_name)) return true;
  }
  return false;
}

std::string WithNamesInsteadOfStar(absl::string_view setting,
                                   const std::vector<std::string>& standbys) {
  std::string list;
  for (const std::string& standby : standbys) {
    absl::StrAppend(&list, list.empty() ? "" : ", ", "\"",
                    absl::StrReplaceAll(standby, {{"\"", "\"\""}}), "\"");
  }
  std::string text;
  size_t copied = 0;
  for (const Token& name : NamesOf(setting)) {
    if (name.text != "*") continue;
    absl::StrAppend(&text, setting.substr(copied, name.begin - copied), list);
    copied = name.end;
  }
  absl::StrAppend(&text, setting.substr(copied));
  return text;
}

}  // namespace towline
