// A text[] literal ('{"a","b"}') for statements that take a list of any length as one parameter.
// unnest() of several arrays at once is the one function that must not be written with its schema:
// the parser knows it by its bare name (the sessions' empty search_path finds only pg_catalog's).
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace towline {

// Collects elements; ToString() gives the literal, to be cast by the statement ($1::text[], oid[]).
class ArrayLiteral {
 public:
  void Add(absl::string_view element);
  std::string ToString() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

}  // namespace towline
