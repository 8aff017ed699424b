#include "cli/argv_secrets.h"

#include <cstring>

#include "pg/secrets.h"

namespace towline {

void WipeSecrets(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    for (const SecretSpan& span : FindSecrets(argv[i]))
      memset(argv[i] + span.begin, '*', span.size);
  }
}

}  // namespace towline
