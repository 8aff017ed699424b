// Propagation of absl::Status, as upstream abseil's status_macros.h does it; our abseil has none.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define TOWLINE_RETURN_IF_ERROR(expression)                                 \
  do {                                                                      \
    if (absl::Status towline_status = (expression); !towline_status.ok()) { \
      return towline_status;                                                \
    }                                                                       \
  } while (false)

#define TOWLINE_CONCAT_INNER(a, b) a##b
#define TOWLINE_CONCAT(a, b) TOWLINE_CONCAT_INNER(a, b)

#define TOWLINE_ASSIGN_OR_RETURN(lhs, expression) \
  TOWLINE_ASSIGN_OR_RETURN_IMPL(TOWLINE_CONCAT(towline_status_or_, __LINE__), lhs, expression)
#define TOWLINE_ASSIGN_OR_RETURN_IMPL(result, lhs, expression) \
  auto result = (expression);                                  \
  if (!result.ok()) return std::move(result).status();         \
  lhs = std::move(result).value()
