#include "relation_description.h"

#include "numeric_bytes.h"
#include "plugin_state.h"
#include "type_rules.h"

namespace towline::plugin {
namespace {

// Towline's own schemas: what it keeps there must not travel (a cascade a→b→c would overwrite its
// own state), and rows of towline.ddl_log get a message of their own.
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
// them matches `exclude`: naming a partitioned table means all of its partitions.
struct Selection {
  const Options* options;
  bool is_included;
  bool is_excluded;

  void Consider(const RelationName& name) {
    if (MatchesAny(options->include_tables, name.schema, name.name)) is_included = true;
    if (MatchesAny(options->exclude_tables, name.schema, name.name)) is_excluded = true;
    for (std::string_view own : kOwnSchemas) {
      if (name.schema == own) is_excluded = true;
    }
  }
  bool is_selected() const {
    return !is_excluded && (is_included || options->include_tables.count == 0);
  }
};

bool IsNeverSent(Relation relation) {
  Form_pg_class form = relation->rd_rel;
  // The destination runs the statement; nobody can insert into a materialized view.
  if (form->relkind == RELKIND_MATVIEW) return true;
  // The new heap of a table that is being rewritten. Its rows are not changes.
  if (OidIsValid(form->relrewrite)) return true;
  // initdb's own tables, such as those of information_schema.
  if (RelationGetRelid(relation) < FirstNormalObjectId) return true;
  // Tables that CREATE EXTENSION makes: the destination's extension has its own, and the copy
  // leaves them out as well (a job of pg_cron must not run twice).
  return OidIsValid(getExtensionOfObject(RelationRelationId, RelationGetRelid(relation)));
}

// Which columns the old image of an UPDATE or DELETE carries, by attribute number from 1.
struct Identity {
  IdentityKind kind;
  bool* is_key;
};

Identity ReadIdentity(Relation relation) {
  int count = RelationGetDescr(relation)->natts;
  Identity identity{IdentityKind::kDefault,
                    static_cast<bool*>(palloc0(static_cast<size_t>(count + 1) * sizeof(bool)))};
  switch (relation->rd_rel->relreplident) {
    case REPLICA_IDENTITY_FULL:
      identity.kind = IdentityKind::kFull;
      for (int i = 1; i <= count; ++i) identity.is_key[i] = true;
      return identity;
    case REPLICA_IDENTITY_NOTHING:
      identity.kind = IdentityKind::kNothing;
      return identity;
    case REPLICA_IDENTITY_INDEX:
      identity.kind = IdentityKind::kIndex;
      break;
    default:
      break;
  }
  Oid index_oid = RelationGetReplicaIndex(relation);
  if (!OidIsValid(index_oid)) return identity;
  // Not RelationGetIdentityKeyBitmap(): releases before 14 lack it, and its general sibling opens
  // indexes whose expressions cannot be evaluated under a historic snapshot.
  Relation index = RelationIdGetRelation(index_oid);
  if (!RelationIsValid(index)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                    errmsg("could not open replica identity index %u of relation \"%s\"", index_oid,
                           RelationGetRelationName(relation))));
  }
  for (int i = 0; i < index->rd_index->indnkeyatts; ++i) {
    AttrNumber attnum = index->rd_index->indkey.values[i];
    if (attnum > 0) identity.is_key[attnum] = true;
  }
  RelationClose(index);
  return identity;
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
    return fast.method;
  }
  return ValueMethod::kSend;
}

ValueMethod MethodOfOutput(Oid function, const FormData_pg_attribute* attribute) {
  bool is_plain = function == F_TEXTOUT || function == F_VARCHAROUT || function == F_BPCHAROUT ||
                  function == F_JSON_OUT;
  return is_plain && attribute->attlen == -1 ? ValueMethod::kVarlena : ValueMethod::kOutput;
}

// How values of the column are written. Returns the format that the description names.
ColumnFormat ChooseMethod(bool wants_binary, const FormData_pg_attribute* attribute,
                          MemoryContext context, ColumnCodec* codec) {
  Oid function = InvalidOid;
  bool is_varlena = false;
  ColumnFormat format = ColumnFormat::kText;
  if (wants_binary && TypeIsPortableAsBinary(attribute->atttypid)) {
    getTypeBinaryOutputInfo(attribute->atttypid, &function, &is_varlena);
    codec->method = MethodOfSend(function, attribute);
    format = ColumnFormat::kBinary;
  } else {
    getTypeOutputInfo(attribute->atttypid, &function, &is_varlena);
    codec->method = MethodOfOutput(function, attribute);
  }
  if (codec->method >= ValueMethod::kNumeric) {
    fmgr_info_cxt(function, &codec->function, context);
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
  ReleaseSysCache(tuple);
  return name;
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
  column->type_schema = schema == nullptr ? "" : schema;
  column->type_name = pstrdup(NameStr(type->typname));
  column->typmod = attribute->atttypmod;
  column->type_kind = CharAsText(type->typtype);
  column->collation = CollationName(attribute->attcollation, type->typcollation, dependencies);
  if (type->typnamespace != PG_CATALOG_NAMESPACE) {
    dependencies->AddCatalogRow(NAMESPACEOID, type->typnamespace);
  }
  ReleaseSysCache(tuple);
  VisitUserTypes(attribute->atttypid, {AddType, AddRelation, dependencies});
}

// Columns of the published relation (`published`), whose values are found in rows of `relation`.
void DescribeColumns(PluginState* state, Relation relation, Relation published,
                     RelationEntry* entry, RelationFields* fields, Dependencies* dependencies) {
  TupleDesc source = RelationGetDescr(relation);
  TupleDesc target = RelationGetDescr(published);
  // Partitions may have their columns in another order than their root.
  AttrMap* map = relation == published ? nullptr : BuildAttrMap(source, target);
  Identity identity = ReadIdentity(relation);
  fields->replica_identity = identity.kind;
  entry->is_full_identity = identity.kind == IdentityKind::kFull;

  auto room = static_cast<size_t>(Max(target->natts, 1));
  auto* columns = static_cast<ColumnFields*>(palloc0(room * sizeof(ColumnFields)));
  entry->columns =
      static_cast<ColumnCodec*>(MemoryContextAllocZero(entry->context, room * sizeof(ColumnCodec)));
  entry->column_count = entry->sent_count = entry->key_count = 0;
  entry->has_unsent_key = false;
  for (int i = 0; i < target->natts; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(target, i);
    if (attribute->attisdropped) continue;
    int source_attnum = map == nullptr ? i + 1 : map->attnums[i];
    ColumnFields* column = &columns[entry->column_count];
    ColumnCodec* codec = &entry->columns[entry->column_count++];

    codec->index = source_attnum - 1;
    codec->is_sent = attribute->attgenerated == '\0';
    // Under FULL the old image is a full one, so the key has just the columns that it has.
    codec->is_in_key =
        identity.is_key[source_attnum] && (codec->is_sent || !entry->is_full_identity);
    codec->can_be_toasted = attribute->attlen == -1;
    codec->name = CopyName(entry->context, NameStr(attribute->attname));
    column->format = ChooseMethod(state->options.is_binary, attribute, entry->context, codec);
    entry->sent_count += codec->is_sent;
    entry->key_count += codec->is_in_key;
    entry->has_unsent_key |= codec->is_in_key && !codec->is_sent;

    column->name = codec->name;
    column->attnum = attribute->attnum;
    DescribeType(attribute, column, dependencies);
    column->not_null = attribute->attnotnull;
    column->generated = CharAsText(attribute->attgenerated);
    column->identity = CharAsText(attribute->attidentity);
    column->in_key = codec->is_in_key;
    column->sent = codec->is_sent;
  }
  fields->columns = columns;
  fields->column_count = static_cast<size_t>(entry->column_count);
}

void MakeRowSpace(Relation relation, RelationEntry* entry) {
  entry->attribute_count = RelationGetDescr(relation)->natts;
  auto count = static_cast<size_t>(Max(entry->attribute_count, 1));
  auto allocate = [entry](size_t size) { return MemoryContextAlloc(entry->context, size); };
  entry->old_values = static_cast<Datum*>(allocate(count * sizeof(Datum)));
  entry->new_values = static_cast<Datum*>(allocate(count * sizeof(Datum)));
  entry->old_nulls = static_cast<bool*>(allocate(count * sizeof(bool)));
  entry->new_nulls = static_cast<bool*>(allocate(count * sizeof(bool)));
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

}  // namespace

RelationFields ReadRelation(PluginState* state, Relation relation, RelationEntry* entry) {
  RelationFields fields = {};
  Selection selection{&state->options, false, false};
  Dependencies dependencies{EmptyList(), EmptyList()};

  RelationName name = NameOf(relation);
  entry->display_name =
      CopyName(entry->context, quote_qualified_identifier(name.schema, name.name));
  dependencies.AddCatalogRow(NAMESPACEOID, RelationGetNamespace(relation));
  selection.Consider(name);
  Relation root = OpenRoot(relation, entry, &selection, &dependencies);
  entry->is_selected = selection.is_selected() && !IsNeverSent(relation);
  if (entry->is_selected) {
    bool as_root = root != nullptr && state->options.partitions == PublishPartitions::kRoot;
    Relation published = as_root ? root : relation;
    RelationName published_name = as_root ? NameOf(root) : name;
    fields.oid = RelationGetRelid(relation);
    fields.root_oid = entry->root_oid;
    fields.schema = published_name.schema;
    fields.name = published_name.name;
    if (as_root) {
      fields.leaf_schema = name.schema;
      fields.leaf_name = name.name;
    }
    fields.kind = CharAsText(published->rd_rel->relkind);
    DescribeColumns(state, relation, published, entry, &fields, &dependencies);
    fields.shape_hash = ShapeHash(fields);
    MakeRowSpace(relation, entry);
  }
  if (root != nullptr) RelationClose(root);
  KeepDependencies(dependencies, entry);
  return fields;
}

}  // namespace towline::plugin
