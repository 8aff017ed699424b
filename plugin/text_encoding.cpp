#include "text_encoding.h"

namespace towline::plugin {
namespace {

bool IsAscii(std::string_view text) {
  for (char c : text) {
    if (IS_HIGHBIT_SET(c)) return false;
  }
  return true;
}

bool IsUtf8(std::string_view text) {
  return pg_verify_mbstr(PG_UTF8, text.data(), static_cast<int>(text.size()), true);
}

// The server's functions give their argument back when there is nothing to convert, else a string.
std::string_view Converted(std::string_view text, const char* result) {
  return result == text.data() ? text : std::string_view(result, strlen(result));
}

}  // namespace

bool TextsAreConverted() {
  int encoding = GetDatabaseEncoding();
  return encoding != PG_UTF8 && encoding != PG_SQL_ASCII;
}

void CheckEncoding() {
  // The only one that the server has no conversion for; releases from 19 on do not know it.
  if (strcmp(GetDatabaseEncodingName(), "MULE_INTERNAL") != 0) return;
  ereport(ERROR,
          (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
           errmsg("towline cannot read a database with encoding \"%s\"", GetDatabaseEncodingName()),
           errdetail("The server has no conversion from it to UTF8.")));
}

const char* SentEncodingName() {
  return GetDatabaseEncoding() == PG_SQL_ASCII ? "SQL_ASCII" : "UTF8";
}

std::string_view SentText(std::string_view stored) {
  if (!TextsAreConverted()) return stored;
  return Converted(stored, pg_server_to_client(stored.data(), static_cast<int>(stored.size())));
}

const char* SentName(const char* stored) {
  std::string_view name(stored);
  if (IsAscii(name)) return stored;
  if (TextsAreConverted()) return SentText(name).data();
  if (GetDatabaseEncoding() == PG_SQL_ASCII && !IsUtf8(name)) {
    ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
                    errmsg("towline: the name \"%s\" is not valid UTF-8", stored),
                    errhint("Rename it, or leave the table out.")));
  }
  return stored;
}

std::string_view SentLabel(std::string_view stored) {
  if (IsAscii(stored) || (!TextsAreConverted() && IsUtf8(stored))) return stored;
  char* label = pnstrdup(stored.data(), stored.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    if (IS_HIGHBIT_SET(label[i])) label[i] = '?';
  }
  return {label, stored.size()};
}

std::string_view StoredText(std::string_view sent) {
  if (!TextsAreConverted()) return sent;
  return Converted(sent, pg_any_to_server(sent.data(), static_cast<int>(sent.size()), PG_UTF8));
}

}  // namespace towline::plugin
