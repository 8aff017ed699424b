// The text of a captured command as words, names and signs. Comments are no part of it. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace towline {

struct DdlToken {
  size_t begin = 0;
  size_t end = 0;
  bool is_word = false;  // not quoted
  bool is_name = false;  // a word, or a quoted name
  int depth = 0;         // of parentheses around it
};

// Words, names, and single characters of all else; strings are one token.
class DdlWords {
 public:
  // Borrows the text.
  explicit DdlWords(absl::string_view text);

  size_t size() const { return tokens_.size(); }
  const DdlToken& operator[](size_t i) const { return tokens_[i]; }
  bool Is(size_t i, absl::string_view word) const;
  bool IsSign(size_t i, char sign) const;
  bool IsName(size_t i) const;
  // Of a name that may be qualified.
  size_t BehindName(size_t first) const;
  // As the catalog holds it.
  std::string NameAt(size_t i) const;
  // The text without the tokens [first, end).
  std::string Without(size_t first, size_t end) const;

 private:
  absl::string_view Text(size_t i) const;

  absl::string_view text_;
  std::vector<DdlToken> tokens_;
};

}  // namespace towline
