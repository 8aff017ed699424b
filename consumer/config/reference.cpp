#include "config/reference.h"

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "config/option_table.h"

namespace towline {
namespace {

constexpr size_t kColumns = 98;

// A '|' would end the cell.
std::string Cell(absl::string_view text) { return absl::StrReplaceAll(text, {{"|", "\\|"}}); }
std::string Code(absl::string_view text) {
  return text.empty() ? "" : absl::StrCat("`", Cell(text), "`");
}

// Words in lines of `prefix` + text, at most kColumns wide.
std::string Wrapped(absl::string_view text, absl::string_view prefix) {
  std::string out;
  std::string line(prefix);
  for (absl::string_view word : absl::StrSplit(text, ' ')) {
    if (line.size() > prefix.size() && line.size() + 1 + word.size() > kColumns) {
      absl::StrAppend(&out, line, "\n");
      line = std::string(prefix);
    }
    absl::StrAppend(&line, " ", word);
  }
  return absl::StrCat(out, line, "\n");
}

std::string YamlValue(const OptionSpec& option) {
  std::string value = option.example.empty() ? option.default_text : option.example;
  if (option.is_list) return absl::StrCat("[\"", value, "\"]");
  return value;
}

constexpr char kRulesText[] = R"text(
### Rows, columns and operations

    table:
      "shop.orders":
        where: "region = 'eu'"
        columns: [id, region, total, {email: "left(email, 2)"}, {origin: "'eu'::text"}]
        operations: [insert, update, delete]

`where` and the expressions of `columns` are SQL over the columns of the row. The source evaluates them, for the
stream in its decoder and for the first copy in a SELECT, under the same settings (docs/protocol.md), with
`search_path = pg_catalog, pg_temp`: only built-in immutable functions and operators, no subqueries, no functions of
your own ([what exactly](../plugin.md)). The copy runs in a READ ONLY transaction with the rights of your own role.

- A rule of a partitioned table holds for its partitions, unless a partition, or a partitioned table nearer to it,
  has one of its own: that one then counts alone.
- The columns of the replica identity must be listed as they are if updates or deletes are streamed. A `where` that
  looks at other columns needs `REPLICA IDENTITY FULL`; `towline check` prints the statement.
- A row that a changed key brings into the filter arrives whole, so every value must be in the log. Where one may be
  stored out of line the table needs `REPLICA IDENTITY FULL` too; `accept: [source.table_rules_entering]` if such keys
  never change (if one does, the stream stops).
- Generated columns are never sent: the destination computes them, from what it got.
- Columns left out stay at the destination with their defaults. In tables that Towline creates NOT NULL is dropped
  for those without one; an added column is appended. Tables that are there already must have what is sent, and a
  default or no NOT NULL for the rest.
- `operations` says what is streamed; the first copy brings the rows that are there, whatever it says. Without
  `insert` or `update`, updates and deletes of rows that never arrived are passed over. Without `update`, `delete` or
  `truncate`, a row whose key the source has freed gives way to the row that has the key now.
- A rule belongs to what was copied. When it has changed since, `run` stops. `run --accept-rule-change` goes on with
  the new rule, if the source can evaluate it: it counts for changes from then on, rows already copied are not
  looked at again. Otherwise `towline drop` and copy anew.
)text";

}  // namespace

std::string OptionsMarkdown() {
  std::string out =
      "<!-- Written by `towline reference --markdown` from consumer/config/option_table.cpp. Do "
      "not "
      "edit. -->\n\n"
      "# Options\n\n"
      "An option may be given as a flag, in the environment or in a YAML file (`--config FILE`, "
      "`TOWLINE_CONFIG`).\nA flag wins over the environment, the environment over the file. Sizes "
      "take kB, MB, GB, TB (each 1024 of the one\nbefore), times ms, s, m, h. A list is a flag "
      "given several times, words with commas between them in the environment,\na sequence in "
      "YAML.\n";
  std::string group;
  for (const OptionSpec& option : OptionTable()) {
    if (option.group != group) {
      group = option.group;
      absl::StrAppend(&out, "\n## ", group,
                      "\n\n| flag | YAML | environment | default | range | meaning |\n"
                      "|---|---|---|---|---|---|\n");
    }
    std::string flag = Code(absl::StrCat(option.flag, " ", option.value_name));
    if (!option.flag_twin.empty()) absl::StrAppend(&flag, ", ", Code(option.flag_twin));
    absl::StrAppend(
        &out, "| ",
        absl::StrJoin({flag, Code(option.path), Code(option.env), Code(option.default_text),
                       Cell(option.range), Cell(option.help)},
                      " | "),
        " |\n");
  }
  absl::StrAppend(
      &out,
      "\n## For one table\n\nUnder `table: {\"schema.table\": {...}}` in YAML. The names "
      "are those of the catalog, capitals as they are; one that\nholds a dot or begins "
      "with a double quote stands in double quotes, as in `'\"my.schema\".orders'`.\n\n"
      "| key | range | meaning |\n|---|---|---|\n");
  for (const TableOptionSpec& option : TableOptionTable()) {
    absl::StrAppend(&out, "| ", Code(option.key), " | ", Cell(option.range), " | ",
                    Cell(option.help), " |\n");
  }
  absl::StrAppend(&out, kRulesText);
  absl::StrAppend(&out, "\nKeys that a later version will know are refused by this one: `",
                  absl::StrJoin(FutureKeys(), "`, `"), "`.\n");
  return out;
}

std::string ExampleYaml() {
  std::string out =
      "# Every option of towline. Written by `towline reference --example` from\n"
      "# consumer/config/option_table.cpp. What is commented out stands at its default,\n"
      "# or does not go with all the others.\n";
  std::string section;
  for (const OptionSpec& option : OptionTable()) {
    std::vector<std::string> parts = absl::StrSplit(option.path, absl::MaxSplits('.', 1));
    std::string indent;
    std::string key = parts[0];
    if (parts.size() == 2) {
      if (section != parts[0]) absl::StrAppend(&out, "\n", parts[0], ":\n");
      section = parts[0];
      indent = "  ";
      key = parts[1];
    } else {
      section.clear();
      out.append("\n");
    }
    out.append(Wrapped(option.help, indent + "#"));
    if (!option.range.empty()) absl::StrAppend(&out, indent, "# ", option.range, "\n");
    bool is_shown = parts.size() == 2 || !option.example.empty();
    absl::StrAppend(&out, indent, is_shown ? "" : "# ", key, ": ", YamlValue(option), "\n");
  }
  absl::StrAppend(&out, "\n# Keys of single tables.\ntable:\n  \"public.audit\":\n");
  for (const TableOptionSpec& option : TableOptionTable()) {
    absl::StrAppend(&out, Wrapped(option.help, "    #"), "    # ", option.range,
                    option.excludes_others ? "\n    # " : "\n    ", option.key, ": ",
                    option.example, "\n");
  }
  return out;
}

}  // namespace towline
