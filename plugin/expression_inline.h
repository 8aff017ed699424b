// Built-in functions in the language SQL stand for another expression: round(n) for round(n, 0).
// The planner puts it in their place, but runs a query instead when all arguments are constant, for
// which there is no snapshot while decoding. So it is done here first, with columns for arguments.
#pragma once

#include "pg_compat.h"

namespace towline::plugin {

// `expression` with what its functions in the language SQL stand for. One that cannot be replaced
// stays. The expression must have been found safe (expression_safety.h).
Node* InlineSqlFunctions(Node* expression);

}  // namespace towline::plugin
