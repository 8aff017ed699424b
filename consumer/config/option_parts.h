// What the files that declare options share.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "config/option_table.h"

namespace towline {

using Values = std::vector<std::string>;

// flag and env follow from `words`: the path's last part, or all of it where that alone says
// nothing.
OptionSpec Named(const char* path, const std::string& words, const char* group);
absl::Status OutOfRange(const std::string& range);

template <typename Enum>
struct Word {
  const char* text;
  Enum value;
};

template <typename Enum, size_t n>
absl::Status SetWord(const Word<Enum> (&words)[n], const std::string& text, Enum& out) {
  Values known;
  for (const Word<Enum>& word : words) {
    known.push_back(word.text);
    if (text == word.text) {
      out = word.value;
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("must be ", absl::StrJoin(known, " or ")));
}

inline constexpr Word<ExistingTables> kExisting[] = {{"stop", ExistingTables::kStop},
                                                     {"append", ExistingTables::kAppend},
                                                     {"truncate", ExistingTables::kTruncate}};
inline constexpr char kExistingRange[] = "stop, append or truncate";

inline constexpr Word<FailedTables> kFailed[] = {{"stop", FailedTables::kStop},
                                                 {"park", FailedTables::kPark}};
inline constexpr char kFailedRange[] = "stop or park";

// table_options.cpp: on_conflict, a word or "kind=word" each.
inline constexpr char kConflictRange[] =
    "stop, overwrite or skip, or one of them per kind of conflict";
absl::Status SetConflictPolicy(const Values& words, ConflictPolicy& policy);

// table_options.cpp: ddl, a word or "kind=word" each.
inline constexpr char kDdlRange[] =
    "off, apply, hold or ignore, or one of the latter three per kind of command";
absl::Status SetDdlPolicy(const Values& words, DdlPolicy& policy);

// table_options.cpp: ddl_role, a role or "role of the source=role" each.
absl::Status SetDdlRoles(const Values& words, DdlRoles& roles);

// schema_options.cpp: what a run does.
void AddStageOptions(std::vector<OptionSpec>& table);

// schema_options.cpp: what is made at the destination besides rows.
void AddSchemaOptions(std::vector<OptionSpec>& table);

// limit_options.cpp: retry and limits.
void AddLimitOptions(std::vector<OptionSpec>& table);

}  // namespace towline
