// The documents that the option table writes: docs/reference/options.md and example.yaml are the
// output of these functions (a unit test compares them; `towline reference` prints them).
#pragma once

#include <string>

namespace towline {

std::string OptionsMarkdown();
std::string ExampleYaml();

}  // namespace towline
