// Assertions about our own invariants, on in every build. Never for input from outside.
#pragma once

#include <cstdio>
#include <cstdlib>

#define TOWLINE_CHECK(condition)                                                              \
  do {                                                                                        \
    if (!(condition)) {                                                                       \
      std::fprintf(stderr, "towline: bug: %s does not hold at %s:%d\n", #condition, __FILE__, \
                   __LINE__);                                                                 \
      std::abort();                                                                           \
    }                                                                                         \
  } while (false)
