#include "relation_description.h"

#include "numeric_bytes.h"
#include "plugin_state.h"
#include "replica_identity.h"
#include "row_rules.h"
#include "text_encoding.h"
#include "type_rules.h"

namespace towline::plugin {
namespace {

// Towline's own schemas: what it keeps there must not travel (a cascade a→b→c would overwrite its
// own state), and rows of towline.ddl_log get a message of their own.
constexpr const char* kExtensionName = "towline";
constexpr const char* kDdlLogSchema = "towline";
constexpr const char* kDdlLogTable = "ddl_log";
constexpr std::string_view kOwnSchemas[] = {"towline", "towline_state"};

char* CopyName(MemoryContext context, const char* name) {
  return MemoryContextStrdup(context, name);
}

// The names of a relation, owned by the current memory context.
struct RelationName {
  const char* schema;
  const char* name;
};

RelationName NameOf(Relation relation) {
  Oid schema_oid = RelationGetNamespace(relation);
  char* schema = get_namespace_name(schema_oid);
  if (schema == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA),
                    errmsg("cache lookup failed for schema %u of relation \"%s\"", schema_oid,
                           RelationGetRelationName(relation))));
  }
  return {schema, pstrdup(RelationGetRelationName(relation))};
}

// A growing list in scratch memory; Oid and hash values are both uint32.
struct NumberList {
  uint32_t* numbers;
  int count;
  int capacity;

  void Add(uint32_t number) {
    for (int i = 0; i < count; ++i) {
      if (numbers[i] == number) return;
    }
    if (count == capacity) {
      capacity *= 2;
      numbers = static_cast<uint32_t*>(
          repalloc(numbers, static_cast<size_t>(capacity) * sizeof(uint32_t)));
    }
    numbers[count++] = number;
  }
  uint32_t* CopyTo(MemoryContext context) const {
    size_t size = static_cast<size_t>(count) * sizeof(uint32_t);
    auto* copy = static_cast<uint32_t*>(MemoryContextAlloc(context, Max(size, sizeof(uint32_t))));
    memcpy(copy, numbers, size);
    return copy;
  }
};

// What the description depends on besides the relation itself.
struct Dependencies {
  NumberList hashes;
  NumberList relations;

  void AddCatalogRow(SysCacheId cache, Oid oid) {
    hashes.Add(GetSysCacheHashValue1(cache, ObjectIdGetDatum(oid)));
  }
};

NumberList EmptyList() {
  constexpr int kFirstCapacity = 16;
  return {static_cast<uint32_t*>(palloc(kFirstCapacity * sizeof(uint32_t))), 0, kFirstCapacity};
}

void AddType(Oid type_oid, void* dependencies) {
  static_cast<Dependencies*>(dependencies)->AddCatalogRow(TYPEOID, type_oid);
}

void AddRelation(Oid relation_oid, void* dependencies) {
  static_cast<Dependencies*>(dependencies)->relations.Add(relation_oid);
}

// Selected if the table or one of the partitioned tables above it matches `include`, and none of
// them matches `exclude`: naming a partitioned table means all of its partitions. Asked from the
// table upwards.
struct Selection {
  const Options* options;
  const TableRules* rules;
  bool is_included;
  bool is_excluded;
  const TableRule* rule;  // of the nearest that has one

  void Consider(const RelationName& name) {
    if (rule == nullptr) rule = FindTableRule(*rules, name.schema, name.name);
    if (MatchesAny(options->include_tables, name.schema, name.name)) is_included = true;
    if (MatchesAny(options->exclude_tables, name.schema, name.name)) is_excluded = true;
    for (std::string_view own : kOwnSchemas) {
      if (name.schema == own) is_excluded = true;
    }
  }
  bool is_selected() const {
    return !is_excluded && (is_included || !options->include_tables.is_given);
  }
};

bool IsNeverSent(Relation relation) {
  Form_pg_class form = relation->rd_rel;
  // The destination runs the statement; nobody can insert into a materialized view.
  if (form->relkind == RELKIND_MATVIEW) return true;
  // The new heap of a table that is being rewritten, whose rows were not asked for or are those of
  // what is never sent.
  if (OidIsValid(form->relrewrite)) return true;
  // initdb's own tables, such as those of information_schema.
  return RelationGetRelid(relation) < FirstNormalObjectId;
}

// Tables that CREATE EXTENSION makes: the destination's extension has its own, and the copy leaves
// them out as well (a job of pg_cron must not run twice). A rule for such a table says which of its
// rows are wanted.
bool IsLeftToExtension(const TableRules& rules, Relation relation, const RelationName& name) {
  return FindTableRule(rules, name.schema, name.name) == nullptr &&
         OidIsValid(getExtensionOfObject(RelationRelationId, RelationGetRelid(relation)));
}

ValueMethod MethodOfText() {
  return TextsAreConverted() ? ValueMethod::kText : ValueMethod::kVarlena;
}

// Fixed-size types can be written without a function call where typsend does nothing but put the
// bytes in network order. The send function decides, not the type, so domains and types that
// borrow one (citext) profit too; the storage is compared because anybody may declare a type.
ValueMethod MethodOfSend(Oid function, const FormData_pg_attribute* attribute) {
  struct Fast {
    Oid function;
    ValueMethod method;
    int16 length;
  };
  static constexpr Fast kFast[] = {
      {F_BOOLSEND, ValueMethod::kBool, 1},
      {F_CHARSEND, ValueMethod::kChar, 1},
      {F_INT2SEND, ValueMethod::kInt2, 2},
      {F_INT4SEND, ValueMethod::kInt4, 4},
      {F_OIDSEND, ValueMethod::kInt4, 4},
      {F_DATE_SEND, ValueMethod::kInt4, 4},
      {F_INT8SEND, ValueMethod::kInt8, 8},
      {F_TIMESTAMP_SEND, ValueMethod::kInt8, 8},
      {F_TIMESTAMPTZ_SEND, ValueMethod::kInt8, 8},
      {F_TIME_SEND, ValueMethod::kInt8, 8},
      {F_CASH_SEND, ValueMethod::kInt8, 8},
      {F_FLOAT4SEND, ValueMethod::kFloat4, 4},
      {F_FLOAT8SEND, ValueMethod::kFloat8, 8},
      {F_UUID_SEND, ValueMethod::kUuid, UUID_LEN},
      {F_NAMESEND, ValueMethod::kName, NAMEDATALEN},
      {F_TEXTSEND, ValueMethod::kVarlena, -1},
      {F_VARCHARSEND, ValueMethod::kVarlena, -1},
      {F_BPCHARSEND, ValueMethod::kVarlena, -1},
      {F_BYTEASEND, ValueMethod::kVarlena, -1},
      {F_JSON_SEND, ValueMethod::kVarlena, -1},
      {F_NUMERIC_SEND, ValueMethod::kNumeric, -1},
  };
  for (const Fast& fast : kFast) {
    if (fast.function != function || fast.length != attribute->attlen) continue;
    if (fast.method == ValueMethod::kNumeric && !NumericLayoutIsKnown()) break;
    bool is_text = fast.method == ValueMethod::kVarlena && function != F_BYTEASEND;
    return is_text ? MethodOfText() : fast.method;
  }
  return ValueMethod::kSend;
}

ValueMethod MethodOfOutput(Oid function, const FormData_pg_attribute* attribute) {
  bool is_plain = function == F_TEXTOUT || function == F_VARCHAROUT || function == F_BPCHAROUT ||
                  function == F_JSON_OUT;
  return is_plain && attribute->attlen == -1 ? MethodOfText() : ValueMethod::kOutput;
}

// How values of the column are written. Returns the format that the description names.
ColumnFormat ChooseMethod(BinaryTypes wanted, const FormData_pg_attribute* attribute,
                          MemoryContext context, ColumnCodec* codec) {
  Oid function = InvalidOid;
  bool is_varlena = false;
  ColumnFormat format = ColumnFormat::kText;
  if (TravelsAsBinary(attribute->atttypid, wanted)) {
    getTypeBinaryOutputInfo(attribute->atttypid, &function, &is_varlena);
    codec->method = MethodOfSend(function, attribute);
    format = ColumnFormat::kBinary;
  } else {
    getTypeOutputInfo(attribute->atttypid, &function, &is_varlena);
    codec->method = MethodOfOutput(function, attribute);
  }
  if (codec->method >= ValueMethod::kNumeric) {
    codec->function = static_cast<FmgrInfo*>(MemoryContextAllocZero(context, sizeof(FmgrInfo)));
    fmgr_info_cxt(function, codec->function, context);
  }
  return format;
}

std::string_view CharAsText(char c) {
  if (c == '\0') return {};
  char* text = static_cast<char*>(palloc(1));
  *text = c;
  return {text, 1};
}

std::string_view CollationName(Oid collation, Oid type_default, Dependencies* dependencies) {
  if (!OidIsValid(collation) || collation == type_default) return {};
  HeapTuple tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
  if (!HeapTupleIsValid(tuple)) return {};
  auto* form = reinterpret_cast<Form_pg_collation>(GETSTRUCT(tuple));
  const char* schema = get_namespace_name(form->collnamespace);
  const char* name = psprintf("%s.%s", schema == nullptr ? "" : schema, NameStr(form->collname));
  dependencies->AddCatalogRow(COLLOID, collation);
  if (form->collnamespace != PG_CATALOG_NAMESPACE) {
    dependencies->AddCatalogRow(NAMESPACEOID, form->collnamespace);
  }
  ReleaseSysCache(tuple);
  return SentName(name);
}

void DescribeType(const FormData_pg_attribute* attribute, ColumnFields* column,
                  Dependencies* dependencies) {
  HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(attribute->atttypid));
  if (!HeapTupleIsValid(tuple)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("cache lookup failed for type %u of column \"%s\"", attribute->atttypid,
                           NameStr(attribute->attname))));
  }
  auto* type = reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple));
  const char* schema = get_namespace_name(type->typnamespace);
  column->type_oid = attribute->atttypid;
  column->type_schema = schema == nullptr ? "" : SentName(schema);
  column->type_name = SentName(pstrdup(NameStr(type->typname)));
  column->typmod = attribute->atttypmod;
  column->type_kind = CharAsText(type->typtype);
  column->collation = CollationName(attribute->attcollation, type->typcollation, dependencies);
  if (type->typnamespace != PG_CATALOG_NAMESPACE) {
    dependencies->AddCatalogRow(NAMESPACEOID, type->typnamespace);
  }
  ReleaseSysCache(tuple);
  VisitUserTypes(attribute->atttypid, {AddType, AddRelation, dependencies});
}

bool HasColumn(TupleDesc descriptor, const char* name) {
  for (int i = 0; i < descriptor->natts; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0) return true;
  }
  return false;
}

// The columns that are described, one after the other.
struct ColumnList {
  PluginState* state;
  Relation relation;  // that was written to
  RelationEntry* entry;
  ColumnFields* columns;
  Identity identity;
  Dependencies* dependencies;

  // `computed` may be null, and then `attribute` is a column of the table.
  void Add(const FormData_pg_attribute* attribute, int source_attnum,
           const ComputedColumn* computed) {
    ColumnFields* column = &columns[entry->column_count];
    ColumnCodec* codec = &entry->columns[entry->column_count++];
    codec->index = computed == nullptr ? source_attnum - 1 : computed->index;
    codec->is_unchanged = computed == nullptr ? nullptr : &computed->is_unchanged;
    codec->is_sent = attribute->attgenerated == '\0';
    // Under FULL the old image is a full one, so the key has just the columns that it has.
    codec->is_in_key = entry->is_full_identity
                           ? codec->is_sent
                           : computed == nullptr && identity.is_key[source_attnum];
    codec->can_be_toasted = attribute->attlen == -1;
    codec->name = CopyName(entry->context, NameStr(attribute->attname));
    column->format = ChooseMethod(state->options.binary, attribute, entry->context, codec);
    entry->sent_count += codec->is_sent;
    entry->key_count += codec->is_in_key;
    entry->has_unsent_key |= codec->is_in_key && !codec->is_sent;

    column->name = SentName(codec->name);
    column->attnum = attribute->attnum;
    DescribeType(attribute, column, dependencies);
    column->not_null = attribute->attnotnull;
    column->generated = CharAsText(attribute->attgenerated);
    column->identity = CharAsText(attribute->attidentity);
    column->in_key = codec->is_in_key;
    column->sent = codec->is_sent;
  }
};

// A column that only the rule has, as if the table had it.
FormData_pg_attribute MakeAttribute(const ComputedColumn& computed) {
  FormData_pg_attribute attribute = {};
  namestrcpy(&attribute.attname, computed.source.column);
  attribute.atttypid = computed.expression.type;
  attribute.atttypmod = computed.expression.typmod;
  attribute.attcollation = computed.expression.collation;
  attribute.attlen = get_typlen(computed.expression.type);
  return attribute;
}

void AddInputTypes(const Expression& expression, TupleDesc descriptor, Dependencies* dependencies) {
  for (int i = 0; i < expression.input_count; ++i) {
    VisitUserTypes(TupleDescAttr(descriptor, expression.inputs[i].index)->atttypid,
                   {AddType, AddRelation, dependencies});
  }
}

const ComputedColumn* Bind(const ColumnList& list, const ColumnRule* column,
                           const FormData_pg_attribute* attribute) {
  RelationEntry* entry = list.entry;
  TupleDesc descriptor = RelationGetDescr(list.relation);
  const ComputedColumn* computed = BindComputedColumn(entry->rules, column, entry->display_name,
                                                      descriptor, attribute, entry->context);
  CheckInputsAreSent(entry->rules->rule, *computed, list.relation, list.identity);
  AddInputTypes(computed->expression, descriptor, list.dependencies);
  return computed;
}

// The rule's columns that the table does not have.
void AddOwnColumns(const TableRule* rule, TupleDesc descriptor, ColumnList* list) {
  for (int i = 0; i < rule->column_count; ++i) {
    const ColumnRule* column = &rule->columns[i];
    if (HasColumn(descriptor, column->name)) continue;
    if (column->expression == nullptr) {
      RefuseMissingColumn(list->entry->display_name, column);
    }
    const ComputedColumn* computed = Bind(*list, column, nullptr);
    FormData_pg_attribute attribute = MakeAttribute(*computed);
    list->Add(&attribute, 0, computed);
  }
}

// Which columns name a row in error messages.
void ListNamingColumns(RelationEntry* entry, const Identity& identity) {
  RowRules* rules = entry->rules;
  rules->naming_codecs = static_cast<int*>(MemoryContextAllocZero(
      entry->context, static_cast<size_t>(Max(entry->column_count, 1)) * sizeof(int)));
  for (int i = 0; i < entry->column_count; ++i) {
    const ColumnCodec& codec = entry->columns[i];
    if (codec.is_unchanged != nullptr || !identity.names_row[codec.index + 1]) continue;
    rules->naming_codecs[rules->naming_count++] = i;
  }
}

void BindRule(const TableRule* rule, Relation relation, const Identity& identity,
              RelationEntry* entry, Dependencies* dependencies) {
  entry->rules = nullptr;
  entry->operations = rule == nullptr ? static_cast<uint8_t>(kAllOperations) : rule->operations;
  if (rule == nullptr) return;
  CheckKeyIsSent(rule, entry->display_name, relation, identity);
  entry->rules = BindRowRules(rule, entry->display_name, relation, identity, entry->context);
  AddInputTypes(entry->rules->filter, RelationGetDescr(relation), dependencies);
}

// Columns of the published relation (`published`), whose values are found in rows of `relation`.
void DescribeColumns(PluginState* state, Relation relation, Relation published,
                     const TableRule* rule, RelationEntry* entry, RelationFields* fields,
                     Dependencies* dependencies) {
  TupleDesc source = RelationGetDescr(relation);
  TupleDesc target = RelationGetDescr(published);
  // Partitions may have their columns in another order than their root.
  AttrMap* map = relation == published ? nullptr : BuildAttrMap(source, target);
  Identity identity = ReadIdentity(relation);
  fields->replica_identity = identity.kind;
  entry->is_full_identity = identity.kind == IdentityKind::kFull;
  BindRule(rule, relation, identity, entry, dependencies);

  int rule_columns = rule == nullptr ? 0 : rule->column_count;
  auto room = static_cast<size_t>(Max(target->natts + rule_columns, 1));
  auto* columns = static_cast<ColumnFields*>(palloc0(room * sizeof(ColumnFields)));
  entry->columns =
      static_cast<ColumnCodec*>(MemoryContextAllocZero(entry->context, room * sizeof(ColumnCodec)));
  entry->column_count = entry->sent_count = entry->key_count = 0;
  entry->has_unsent_key = false;
  ColumnList list{state, relation, entry, columns, identity, dependencies};
  for (int i = 0; i < target->natts; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(target, i);
    const ColumnRule* column = nullptr;
    if (attribute->attisdropped || !IsListed(rule, attribute, &column)) continue;
    bool is_computed = column != nullptr && column->expression != nullptr;
    list.Add(attribute, map == nullptr ? i + 1 : map->attnums[i],
             is_computed ? Bind(list, column, attribute) : nullptr);
  }
  if (rule != nullptr) {
    AddOwnColumns(rule, target, &list);
    ListNamingColumns(entry, identity);
    // A rule of nothing but listed columns and operations asks nothing of a row.
    if (entry->rules->filter.state == nullptr && entry->rules->computed_count == 0) {
      entry->rules = nullptr;
    }
  }
  fields->columns = columns;
  fields->column_count = static_cast<size_t>(entry->column_count);
}

void MakeRowSpace(PluginState* state, Relation relation, const RelationEntry* entry) {
  int computed = entry->rules == nullptr ? 0 : entry->rules->computed_count;
  auto count = static_cast<size_t>(Max(RelationGetDescr(relation)->natts + computed, 1));
  RowSpace* rows = &state->relations.rows;
  if (count <= rows->capacity) return;
  // What was there is left to the session's end: it doubles, and half-made space would be worse.
  count = Max(count, 2 * rows->capacity);
  auto allocate = [state](size_t size) { return MemoryContextAlloc(state->session_context, size); };
  RowSpace larger = {count, static_cast<Datum*>(allocate(count * sizeof(Datum))),
                     static_cast<bool*>(allocate(count * sizeof(bool))),
                     static_cast<Datum*>(allocate(count * sizeof(Datum))),
                     static_cast<bool*>(allocate(count * sizeof(bool)))};
  *rows = larger;
}

// The partitioned tables above `relation`, nearest first, and what the selection says of them.
Relation OpenRoot(Relation relation, RelationEntry* entry, Selection* selection,
                  Dependencies* dependencies) {
  entry->root_oid = RelationGetRelid(relation);
  if (!relation->rd_rel->relispartition) return nullptr;
  List* ancestors = get_partition_ancestors(RelationGetRelid(relation));
  Relation root = nullptr;
  ListCell* cell;
  foreach (cell, ancestors) {
    Oid oid = lfirst_oid(cell);
    dependencies->relations.Add(oid);
    if (root != nullptr) RelationClose(root);
    root = RelationIdGetRelation(oid);
    if (!RelationIsValid(root)) {
      ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                      errmsg("could not open partitioned table %u above \"%s\"", oid,
                             RelationGetRelationName(relation))));
    }
    selection->Consider(NameOf(root));
    dependencies->AddCatalogRow(NAMESPACEOID, RelationGetNamespace(root));
    entry->root_oid = oid;
  }
  return root;
}

void KeepDependencies(const Dependencies& dependencies, RelationEntry* entry) {
  entry->dependency_hashes = dependencies.hashes.CopyTo(entry->context);
  entry->dependency_count = dependencies.hashes.count;
  entry->related_oids = dependencies.relations.CopyTo(entry->context);
  entry->related_count = dependencies.relations.count;
}

bool IsDdlLog(Relation relation, const RelationName& name) {
  // By name and membership: nobody but the extension's owner can make a table a member of it, and
  // where there is no extension anybody may make a schema of its name.
  if (strcmp(name.schema, kDdlLogSchema) != 0 || strcmp(name.name, kDdlLogTable) != 0 ||
      relation->rd_rel->relkind != RELKIND_RELATION) {
    return false;
  }
  Oid extension = get_extension_oid(kExtensionName, true);
  return OidIsValid(extension) &&
         getExtensionOfObject(RelationRelationId, RelationGetRelid(relation)) == extension;
}

// The table whose new heap this is, if its rows are wanted, or that there are any; null: none.
Relation OpenRewritten(const PluginState* state, Relation relation) {
  Oid oid = relation->rd_rel->relrewrite;
  const Options& options = state->options;
  if ((!options.sends_ddl && !options.tells_rewrites) || !OidIsValid(oid)) return nullptr;
  Relation table = RelationIdGetRelation(oid);
  if (!RelationIsValid(table)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                    errmsg("could not open table %u, which \"%s\" is to replace", oid,
                           RelationGetRelationName(relation))));
  }
  return table;
}

}  // namespace

RelationFields ReadRelation(PluginState* state, Relation heap, RelationEntry* entry) {
  // The new heap has the columns of the table, at the same places, and neither name nor identity.
  Relation rewritten = OpenRewritten(state, heap);
  Relation relation = rewritten == nullptr ? heap : rewritten;
  RelationFields fields = {};
  Selection selection{&state->options, &state->rules, false, false, nullptr};
  Dependencies dependencies{EmptyList(), EmptyList()};

  RelationName name = NameOf(relation);
  entry->display_name =
      CopyName(entry->context, quote_qualified_identifier(name.schema, name.name));
  dependencies.AddCatalogRow(NAMESPACEOID, RelationGetNamespace(relation));
  entry->is_ddl_log = IsDdlLog(relation, name);
  selection.Consider(name);
  if (rewritten != nullptr) dependencies.relations.Add(RelationGetRelid(rewritten));
  Relation root = OpenRoot(relation, entry, &selection, &dependencies);
  const bool is_wanted = selection.is_selected() && !IsNeverSent(relation) &&
                         !IsLeftToExtension(state->rules, relation, name);
  entry->is_rewrite = is_wanted && rewritten != nullptr && state->options.tells_rewrites;
  entry->is_selected = is_wanted && !entry->is_rewrite;
  if (entry->is_rewrite) {
    entry->rewrite = {RelationGetRelid(rewritten), CopyName(entry->context, SentName(name.schema)),
                      CopyName(entry->context, SentName(name.name))};
  }
  if (entry->is_selected) {
    bool as_root = root != nullptr && state->options.partitions == PublishPartitions::kRoot;
    Relation published = as_root ? root : relation;
    RelationName published_name = as_root ? NameOf(root) : name;
    fields.oid = RelationGetRelid(relation);
    fields.root_oid = entry->root_oid;
    if (rewritten != nullptr) fields.rewrite_of = RelationGetRelid(rewritten);
    fields.schema = SentName(published_name.schema);
    fields.name = SentName(published_name.name);
    if (as_root) {
      fields.leaf_schema = SentName(name.schema);
      fields.leaf_name = SentName(name.name);
    }
    fields.kind = CharAsText(published->rd_rel->relkind);
    DescribeColumns(state, relation, published, selection.rule, entry, &fields, &dependencies);
    fields.shape_hash = ShapeHash(fields);
    MakeRowSpace(state, relation, entry);
  }
  if (root != nullptr) RelationClose(root);
  if (rewritten != nullptr) RelationClose(rewritten);
  KeepDependencies(dependencies, entry);
  return fields;
}

}  // namespace towline::plugin
