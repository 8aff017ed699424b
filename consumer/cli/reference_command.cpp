#include <cstdio>

#include "base/error.h"
#include "cli/commands.h"
#include "config/reference.h"
#include "precheck/check_catalog.h"

namespace towline {

absl::StatusOr<int> ReferenceCommand(const Arguments& arguments) {
  if (!arguments.is_markdown && !arguments.is_example && !arguments.is_checks) {
    return WithHint(absl::InvalidArgumentError("no page given"),
                    "Give --markdown, --example or --checks.");
  }
  if (arguments.is_markdown) fputs(OptionsMarkdown().c_str(), stdout);
  if (arguments.is_example) fputs(ExampleYaml().c_str(), stdout);
  if (arguments.is_checks) fputs(ChecksMarkdown().c_str(), stdout);
  return 0;
}

}  // namespace towline
