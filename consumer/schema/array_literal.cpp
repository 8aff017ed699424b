#include "schema/array_literal.h"

namespace towline {

void ArrayLiteral::Add(absl::string_view element) {
  if (text_.size() > 1) text_.push_back(',');
  text_.push_back('"');
  for (char c : element) {
    if (c == '"' || c == '\\') text_.push_back('\\');
    text_.push_back(c);
  }
  text_.push_back('"');
}

}  // namespace towline
