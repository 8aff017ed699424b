// Texts are sent in UTF-8, whatever the database's encoding. SQL_ASCII says that nobody knows the
// encoding: the bytes of values are passed on as they are and the destination judges them.
//
// Conversion is the one of client_encoding, which the session pins (session_settings.h): its
// functions were looked up then, so nothing is looked up while decoding.
#pragma once

#include "pg_headers.h"

namespace towline::plugin {

// Whether the database's encoding is another than UTF8 and SQL_ASCII.
bool TextsAreConverted();

// Refuses a database whose texts cannot be sent.
void CheckEncoding();

// What the session's client_encoding must be.
const char* SentEncodingName();

// The text of a value. What differs from `stored` is allocated in the current memory context. A
// character that UTF-8 lacks is an error.
std::string_view SentText(std::string_view stored);

// A name of the catalogs. The wire format's strings are UTF-8 always, so a name of SQL_ASCII that
// is not is an error.
const char* SentName(const char* stored);

// A text that anybody may have chosen, or that may come from a database of another encoding: it
// must not be able to stop the stream, so characters that are not surely sent right become "?".
std::string_view SentLabel(std::string_view stored);

// What was sent, back in the database's encoding. Looks the conversion up: not while decoding.
std::string_view StoredText(std::string_view sent);

}  // namespace towline::plugin
