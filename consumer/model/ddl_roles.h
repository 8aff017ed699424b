// Under which roles of the destination captured DDL is run.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

namespace towline {

struct DdlRoles {
  std::string others;                            // of all that are not named; empty: none is said
  std::map<std::string, std::string> by_source;  // by the role that has run the command there

  // Then commands are run as the role that Towline connects as.
  bool empty() const { return others.empty() && by_source.empty(); }

  // Nothing: none is said.
  std::optional<std::string> For(const std::string& source_role) const {
    auto own = by_source.find(source_role);
    if (own != by_source.end()) return own->second;
    return others.empty() ? std::nullopt : std::optional<std::string>(others);
  }

  std::set<std::string> All() const {
    std::set<std::string> roles;
    if (!others.empty()) roles.insert(others);
    for (const auto& [source_role, role] : by_source) roles.insert(role);
    return roles;
  }
};

}  // namespace towline
