// What the last comparison of a task says of it (`towline verify`). Plain data.
#pragma once

#include <cstdint>
#include <string>

namespace towline {

// Of the last comparison, or round of a continuous one, that came to its end; and what is known of
// each table that was ever compared and that the source still has (state/verify_look.h).
struct VerifySummary {
  int64_t run = 0;  // of towline_state.verify_run; 0: there is none
  std::string mode;
  std::string verdict;        // of the run
  int64_t finished_at_s = 0;  // since 1970, by the destination's clock
  int64_t tables = 0;
  int64_t tables_different = 0;
  int64_t tables_undecided = 0;
  int64_t rows_different = 0;  // missing, extra and different, those that were repaired apart
};

}  // namespace towline
