// Where the secrets stand in a connection string, found without libpq's parser: also in a string
// that libpq refuses, because exactly then it would be printed. Rather too much than too little.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace towline {

struct SecretSpan {
  size_t begin = 0;
  size_t size = 0;
};

// Password of a URI's authority, values of password= and sslpassword= in either form.
std::vector<SecretSpan> FindSecrets(absl::string_view conninfo);

// The text with every secret replaced by "***".
std::string MaskSecrets(absl::string_view conninfo);

}  // namespace towline
