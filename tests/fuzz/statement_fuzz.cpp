// Libraries: schema
// Sources: consumer/apply/ddl_text.cpp consumer/apply/ddl_words.cpp
//
// Texts of SQL, dumped or captured: reading ends, what is given back comes from the text, and a
// change that was made once is not made twice.
#include <string>

#include "apply/ddl_text.h"
#include "fuzz.h"
#include "schema/dump_script.h"
#include "schema/script_splitter.h"
#include "schema/table_patterns.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace towline;
  absl::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto statements = SplitScript(text); statements.ok()) {
    for (const ScriptStatement& statement : *statements) {
      Check(text.find(statement.text) != absl::string_view::npos);
      (void)IsAboutRights(statement.text);
      (void)RolesOf(statement.text);
    }
  }
  (void)ParseDumpScript(text, {});
  (void)ParseTablePattern(text);
  for (auto* change : {&WithoutConcurrently, &WithoutTablespace}) {
    std::string once = change(text);
    Check(once.size() <= text.size() && change(once).size() <= once.size());
  }
  (void)WithNoData(text);
  (void)AsCreateTable(text);
  (void)AsDropOf("DROP TABLE", text, {"\"a\".\"b\""});
  return 0;
}
