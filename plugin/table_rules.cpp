#include "table_rules.h"

#include "error_context.h"
#include "expression.h"

namespace towline::plugin {
namespace {

// Where in the option an error is.
struct Place {
  int rule;  // from 1; 0: outside of any
  const char* schema;
  const char* table;
  const char* key;  // may be null
  int item;         // of the key's list, from 1; 0: the key itself
};

const char* Show(const Place& place) {
  if (place.rule == 0) return "The value";
  StringInfoData text;
  initStringInfo(&text);
  appendStringInfo(&text, "Rule %d", place.rule);
  if (place.schema != nullptr && place.table != nullptr) {
    appendStringInfo(&text, " (%s)", quote_qualified_identifier(place.schema, place.table));
  }
  if (place.key != nullptr) appendStringInfo(&text, ", \"%s\"", place.key);
  if (place.item > 0) appendStringInfo(&text, ", item %d", place.item);
  return text.data;
}

[[noreturn]] void Refuse(const Place& place, const char* problem) {
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
           errmsg("invalid value for output plugin option \"table_rules\""),
           errdetail("%s: %s.", Show(place), problem),
           errhint("It is a JSON array with an object for each table: {\"schema\": \"s\", "
                   "\"table\": \"t\", \"where\": \"SQL\", \"columns\": [\"a\", {\"name\": \"b\", "
                   "\"expression\": \"SQL\"}], \"operations\": [\"insert\", \"update\", "
                   "\"delete\", \"truncate\"]}.")));
  pg_unreachable();
}

const char* KindOf(const JsonbValue& value) {
  switch (value.type) {
    case jbvNull:
      return "null";
    case jbvString:
      return "a string";
    case jbvNumeric:
      return "a number";
    case jbvBool:
      return "true or false";
    default:
      return JsonContainerIsArray(value.val.binary.data) ? "an array" : "an object";
  }
}

bool IsObject(const JsonbValue& value) {
  return value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data);
}

bool IsArray(const JsonbValue& value) {
  return value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data);
}

[[noreturn]] void RefuseKind(const Place& place, const char* expected, const JsonbValue& value) {
  Refuse(place, psprintf("expected %s, not %s", expected, KindOf(value)));
}

char* TakeString(const Place& place, const JsonbValue& value) {
  if (value.type != jbvString) RefuseKind(place, "a string", value);
  return pnstrdup(value.val.string.val, static_cast<Size>(value.val.string.len));
}

char* TakeName(const Place& place, const JsonbValue& value) {
  char* name = TakeString(place, value);
  if (*name == '\0') Refuse(place, "the name is empty");
  if (strlen(name) >= NAMEDATALEN) {
    Refuse(place, psprintf("the name is longer than %d bytes", NAMEDATALEN - 1));
  }
  return name;
}

// The members of an array or object, one after the other. Containers in it come as jbvBinary.
struct Members {
  JsonbIterator* iterator;
  JsonbValue key;
  JsonbValue value;

  explicit Members(JsonbContainer* container) : iterator(JsonbIteratorInit(container)) {
    (void)JsonbIteratorNext(&iterator, &value, true);  // the container's beginning
  }
  bool Next() {
    JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true);
    if (token == WJB_ELEM) return true;
    if (token != WJB_KEY) return false;
    key = value;
    (void)JsonbIteratorNext(&iterator, &value, true);
    return true;
  }
  bool KeyIs(std::string_view name) const {
    return std::string_view(key.val.string.val, static_cast<size_t>(key.val.string.len)) == name;
  }
  const char* KeyText() const {
    return CutText(pnstrdup(key.val.string.val, static_cast<Size>(key.val.string.len)));
  }
};

uint8_t ReadOperations(Place place, const JsonbValue& list) {
  static constexpr struct {
    const char* name;
    Operation operation;
  } kOperations[] = {{"insert", kInsertOperation},
                     {"update", kUpdateOperation},
                     {"delete", kDeleteOperation},
                     {"truncate", kTruncateOperation}};
  if (!IsArray(list)) RefuseKind(place, "an array of operations", list);
  uint8_t operations = 0;
  for (Members members(list.val.binary.data); members.Next();) {
    ++place.item;
    const char* name = TakeString(place, members.value);
    uint8_t operation = 0;
    for (const auto& known : kOperations) {
      if (strcmp(known.name, name) == 0) operation = known.operation;
    }
    if (operation == 0) {
      Refuse(place, psprintf("unknown operation \"%s\", expected insert, update, delete or "
                             "truncate",
                             CutText(name)));
    }
    operations |= operation;
  }
  if (operations == 0) Refuse(place, "no operation is named; exclude_tables leaves a table out");
  return operations;
}

ColumnRule ReadColumn(const Place& place, const JsonbValue& value) {
  ColumnRule column = {};
  if (value.type == jbvString) {
    column.name = TakeName(place, value);
    return column;
  }
  if (!IsObject(value)) RefuseKind(place, "a column's name or an object", value);
  for (Members members(value.val.binary.data); members.Next();) {
    if (members.KeyIs("name")) {
      column.name = TakeName(place, members.value);
    } else if (members.KeyIs("expression")) {
      column.expression = TakeString(place, members.value);
    } else {
      Refuse(place,
             psprintf("unknown key \"%s\", expected name and expression", members.KeyText()));
    }
  }
  if (column.name == nullptr) Refuse(place, "the key \"name\" is missing");
  if (column.expression == nullptr) Refuse(place, "the key \"expression\" is missing");
  return column;
}

void ReadColumns(Place place, const JsonbValue& list, TableRule* rule) {
  if (!IsArray(list)) RefuseKind(place, "an array of columns", list);
  rule->has_columns = true;
  int count = static_cast<int>(JsonContainerSize(list.val.binary.data));
  if (count == 0) Refuse(place, "no column is named; exclude_tables leaves a table out");
  if (count > MaxAttrNumber) Refuse(place, "there are more columns than a table can have");
  rule->columns = static_cast<ColumnRule*>(palloc(static_cast<size_t>(count) * sizeof(ColumnRule)));
  for (Members members(list.val.binary.data); members.Next();) {
    ++place.item;
    ColumnRule column = ReadColumn(place, members.value);
    if (FindColumnRule(rule, column.name) != nullptr) {
      Refuse(place, psprintf("column \"%s\" is named twice", column.name));
    }
    rule->columns[rule->column_count++] = column;
  }
}

void ReadRule(Place place, const JsonbValue& object, TableRule* rule) {
  if (!IsObject(object)) RefuseKind(place, "an object", object);
  // The table first, so that every other error can name it.
  for (Members members(object.val.binary.data); members.Next();) {
    const char** part = members.KeyIs("schema")  ? &place.schema
                        : members.KeyIs("table") ? &place.table
                                                 : nullptr;
    if (part == nullptr) continue;
    place.key = part == &place.schema ? "schema" : "table";
    *part = TakeName(place, members.value);
  }
  place.key = nullptr;
  if (place.schema == nullptr) Refuse(place, "the key \"schema\" is missing");
  if (place.table == nullptr) Refuse(place, "the key \"table\" is missing");
  (void)MakeTableName(place.schema, place.table, &rule->table);
  rule->number = place.rule;
  rule->operations = kAllOperations;
  for (Members members(object.val.binary.data); members.Next();) {
    if (members.KeyIs("schema") || members.KeyIs("table")) continue;
    if (members.KeyIs("where")) {
      place.key = "where";
      rule->where = TakeString(place, members.value);
    } else if (members.KeyIs("columns")) {
      place.key = "columns";
      ReadColumns(place, members.value, rule);
    } else if (members.KeyIs("operations")) {
      place.key = "operations";
      rule->operations = ReadOperations(place, members.value);
    } else {
      place.key = nullptr;
      Refuse(place, psprintf("unknown key \"%s\", expected schema, table, where, columns and "
                             "operations",
                             members.KeyText()));
    }
  }
}

void CheckSyntax(const TableRule* rule) {
  const char* table = quote_qualified_identifier(rule->table.schema, rule->table.name);
  if (rule->where != nullptr) CheckExpressionSyntax({table, nullptr, rule->where});
  for (int i = 0; i < rule->column_count; ++i) {
    const ColumnRule& column = rule->columns[i];
    if (column.expression == nullptr) continue;
    CheckExpressionSyntax({table, column.name, column.expression});
  }
}

void AddRule(const TableRule& rule, TableRules* rules) {
  bool is_known = false;
  auto* entry =
      static_cast<TableRule*>(hash_search(rules->by_name, &rule.table, HASH_ENTER, &is_known));
  if (is_known) {
    Place place{rule.number, rule.table.schema, rule.table.name, nullptr, 0};
    Refuse(place, psprintf("rule %d is of the same table", entry->number));
  }
  *entry = rule;
  rules->in_order[rules->count++] = entry;
}

void NameOption(void*) { errcontext("output plugin option \"table_rules\""); }

}  // namespace

const ColumnRule* FindColumnRule(const TableRule* rule, const char* name) {
  for (int i = 0; i < rule->column_count; ++i) {
    if (strcmp(rule->columns[i].name, name) == 0) return &rule->columns[i];
  }
  return nullptr;
}

void ParseTableRules(const char* json, TableRules* rules) {
  *rules = {};
  ErrorContextCallback context = {error_context_stack, NameOption, nullptr};
  error_context_stack = &context;
  Jsonb* document = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
  if (!JB_ROOT_IS_ARRAY(document) || JB_ROOT_IS_SCALAR(document)) {
    Refuse({}, "expected an array of rules");
  }
  size_t room = Max(JB_ROOT_COUNT(document), 1U);
  rules->by_name = CreateNameTable("towline table rules", sizeof(TableRule));
  rules->in_order = static_cast<const TableRule**>(palloc(room * sizeof(TableRule*)));
  for (Members members(&document->root); members.Next();) {
    CHECK_FOR_INTERRUPTS();
    TableRule rule = {};
    ReadRule({rules->count + 1, nullptr, nullptr, nullptr, 0}, members.value, &rule);
    AddRule(rule, rules);
  }
  error_context_stack = context.previous;
}

void CheckRulesSyntax(const TableRules& rules) {
  MemoryContext scratch =
      AllocSetContextCreate(CurrentMemoryContext, "towline syntax check", ALLOCSET_DEFAULT_SIZES);
  MemoryContext caller = MemoryContextSwitchTo(scratch);
  for (int i = 0; i < rules.count; ++i) {
    CHECK_FOR_INTERRUPTS();
    CheckSyntax(rules.in_order[i]);
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(scratch);
}

const TableRule* FindTableRule(const TableRules& rules, std::string_view schema,
                               std::string_view name) {
  TableName key;
  if (rules.by_name == nullptr || !MakeTableName(schema, name, &key)) return nullptr;
  return static_cast<const TableRule*>(hash_search(rules.by_name, &key, HASH_FIND, nullptr));
}

}  // namespace towline::plugin
