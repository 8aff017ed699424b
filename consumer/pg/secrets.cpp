#include "pg/secrets.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace towline {
namespace {

constexpr char kPasswordKey[] = "password";

// "scheme://user:SECRET@": up to the last @, because a password that should have been
// percent-encoded may hold one.
void FindInAuthority(absl::string_view text, std::vector<SecretSpan>& spans) {
  size_t scheme = text.find("://");
  size_t at = text.rfind('@');
  if (scheme == absl::string_view::npos || at == absl::string_view::npos || at < scheme) return;
  size_t colon = text.find(':', scheme + 3);
  if (colon == absl::string_view::npos || colon > at) return;
  spans.push_back({colon + 1, at - colon - 1});
}

// "password=SECRET" to the next & (URI) or blank, "password = 'SEC RET'" to the closing quote.
// Finds sslpassword as well, whose name ends the same way.
void FindValues(absl::string_view text, std::vector<SecretSpan>& spans) {
  bool is_uri = absl::StrContains(text, "://");
  std::string lower = absl::AsciiStrToLower(text);
  size_t from = 0;
  while ((from = lower.find(kPasswordKey, from)) != std::string::npos) {
    from += sizeof kPasswordKey - 1;
    size_t at = from;
    while (at < text.size() && absl::ascii_isspace(text[at])) ++at;
    if (at >= text.size() || text[at] != '=') continue;
    ++at;
    while (at < text.size() && absl::ascii_isspace(text[at])) ++at;
    size_t end = at;
    if (!is_uri && at < text.size() && text[at] == '\'') {
      for (++end; end < text.size() && text[end] != '\''; ++end) {
        if (text[end] == '\\') ++end;
      }
      end = std::min(end + 1, text.size());
    } else {
      while (end < text.size() && (is_uri ? text[end] != '&' : !absl::ascii_isspace(text[end]))) {
        if (!is_uri && text[end] == '\\') ++end;
        ++end;
      }
      end = std::min(end, text.size());
    }
    spans.push_back({at, end - at});
    from = end;
  }
}

}  // namespace

std::vector<SecretSpan> FindSecrets(absl::string_view conninfo) {
  std::vector<SecretSpan> spans;
  FindInAuthority(conninfo, spans);
  FindValues(conninfo, spans);
  return spans;
}

std::string MaskSecrets(absl::string_view conninfo) {
  std::vector<bool> is_secret(conninfo.size());
  for (const SecretSpan& span : FindSecrets(conninfo)) {
    for (size_t i = span.begin; i < span.begin + span.size; ++i) is_secret[i] = true;
  }
  std::string masked;
  for (size_t i = 0; i < conninfo.size(); ++i) {
    if (!is_secret[i]) masked.push_back(conninfo[i]);
    if (is_secret[i] && (i == 0 || !is_secret[i - 1])) masked.append("***");
  }
  return masked;
}

}  // namespace towline
