#include "schema/pg_dump_program.h"

#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "schema/child_process.h"

namespace towline {
namespace {

// One directory per version: Debian and Ubuntu, Red Hat and its kin, Homebrew.
std::vector<std::string> VersionedDirectories() {
  std::vector<std::string> directories;
  std::error_code ignored;
  for (const char* parent :
       {"/usr/lib/postgresql", "/usr", "/opt/homebrew/opt", "/usr/local/opt"}) {
    for (const auto& entry : std::filesystem::directory_iterator(parent, ignored)) {
      std::string name = entry.path().filename();
      if (absl::string_view(parent) == "/usr" && !absl::StartsWith(name, "pgsql-")) continue;
      directories.push_back(entry.path() / "bin");
    }
  }
  return directories;
}

std::vector<std::string> Candidates() {
  std::vector<std::string> directories = VersionedDirectories();
  const char* path = std::getenv("PATH");
  for (absl::string_view directory :
       absl::StrSplit(path != nullptr ? path : "", ':', absl::SkipEmpty())) {
    directories.emplace_back(directory);
  }
  std::vector<std::string> programs;
  std::set<std::string> seen;
  for (const std::string& directory : directories) {
    std::error_code ignored;
    std::string program = absl::StrCat(directory, "/pg_dump");
    const std::filesystem::path same = std::filesystem::canonical(program, ignored);
    if (!ignored && seen.insert(same).second) programs.push_back(program);
  }
  return programs;
}

absl::StatusOr<int> AskVersion(const std::string& program, const Shutdown& shutdown) {
  ChildProcess child;
  child.arguments = {program, "--version"};
  child.output_bytes_max = 4096;
  TOWLINE_ASSIGN_OR_RETURN(ChildResult result, RunChildProcess(child, shutdown));
  return result.exit_status == 0 ? ParsePgDumpVersion(result.output) : 0;
}

}  // namespace

int ParsePgDumpVersion(const std::string& text) {
  const std::string kMark = "(PostgreSQL) ";
  size_t at = text.find(kMark);
  if (at == std::string::npos) return 0;
  size_t end = at += kMark.size();
  while (end < text.size() && absl::ascii_isdigit(static_cast<unsigned char>(text[end]))) ++end;
  int version = 0;
  return absl::SimpleAtoi(text.substr(at, end - at), &version) ? version : 0;
}

absl::StatusOr<std::string> FindPgDump(const std::string& chosen, int server_version,
                                       const Shutdown& shutdown) {
  const int wanted = server_version / 10000;
  std::vector<std::string> candidates =
      chosen.empty() ? Candidates() : std::vector<std::string>{chosen};
  std::map<int, std::string> good;  // by version; the first found of each
  std::vector<std::string> found;
  for (const std::string& program : candidates) {
    absl::StatusOr<int> version = AskVersion(program, shutdown);
    if (absl::IsCancelled(version.status())) return version.status();
    if (!version.ok() || *version == 0) {
      found.push_back(absl::StrCat(program, " (cannot be run)"));
      continue;
    }
    found.push_back(absl::StrCat(program, " (version ", *version, ")"));
    if (*version >= wanted) good.emplace(*version, program);
    if (*version == wanted) break;  // none fits better, and asking takes its time
  }
  if (!good.empty()) return good.begin()->second;
  absl::Status status = absl::FailedPreconditionError(
      absl::StrCat("no pg_dump of version ", wanted, " or newer for a source of version ", wanted));
  status =
      WithDetail(status, found.empty() ? "None was found."
                                       : absl::StrCat("Found: ", absl::StrJoin(found, ", "), "."));
  return WithHint(status, absl::StrCat("Install postgresql-client-", wanted,
                                       " on this host, or name another pg_dump: --pg-dump PATH."));
}

}  // namespace towline
