#include "type_rules.h"

#include "pg_compat.h"
#include "text_encoding.h"

namespace towline::plugin {
namespace {

// Types nest only as deep as someone has declared them (domain over array over …), but a loop in
// damaged catalogs must not overflow the stack.
constexpr int kTypeDepthMax = 32;

struct TypeFacts {
  char kind;        // pg_type.typtype
  bool is_array;    // a true one: its element names it as its array type
  bool has_binary;  // typsend and typreceive
  Oid inner;        // element of an array, base type of a domain, subtype of a (multi)range
  Oid relation;     // of a composite
};

bool ReadType(Oid type_oid, TypeFacts* facts) {
  HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type_oid));
  if (!HeapTupleIsValid(tuple)) return false;
  auto* type = reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple));
  facts->kind = type->typtype;
  // Others with an element type (point, name, int2vector) are subscriptable, but no arrays.
  facts->is_array = OidIsValid(type->typelem) && get_array_type(type->typelem) == type_oid;
  facts->has_binary = OidIsValid(type->typsend) && OidIsValid(type->typreceive);
  facts->inner = facts->kind == TYPTYPE_DOMAIN ? type->typbasetype
                 : facts->is_array             ? type->typelem
                                               : InvalidOid;
  facts->relation = type->typrelid;
  ReleaseSysCache(tuple);
  if (facts->kind == TYPTYPE_RANGE) facts->inner = get_range_subtype(type_oid);
#ifdef TYPTYPE_MULTIRANGE
  if (facts->kind == TYPTYPE_MULTIRANGE) {
    facts->inner = get_range_subtype(get_multirange_range(type_oid));
  }
#endif
  return true;
}

// Their bytes are OIDs, which name other objects on another server; their text is a name.
bool IsReferenceType(Oid type_oid) {
  switch (type_oid) {
    case REGPROCOID:
    case REGPROCEDUREOID:
    case REGOPEROID:
    case REGOPERATOROID:
    case REGCLASSOID:
    case REGCOLLATIONOID:
    case REGTYPEOID:
    case REGROLEOID:
    case REGNAMESPACEOID:
    case REGCONFIGOID:
    case REGDICTIONARYOID:
#ifdef REGDATABASEOID
    case REGDATABASEOID:
#endif
      return true;
    default:
      return false;
  }
}

// Their receive functions refuse the empty vector that their own send functions write.
bool RefusesItsOwnBinary(Oid type_oid) {
  return type_oid == INT2VECTOROID || type_oid == OIDVECTOROID;
}

// xml_send writes the name of the client's encoding into the value, which for SQL_ASCII the
// destination would keep. A tsvector has no lexeme twice; where two characters of an encoding are
// one in UTF-8, only reading it as text sees to that.
bool IsBoundToEncoding(Oid type_oid) {
  if (type_oid == XMLOID) return GetDatabaseEncoding() == PG_SQL_ASCII;
  return type_oid == TSVECTOROID && TextsAreConverted();
}

// pg_type.dat; the arrays whose text could change a value on its way.
constexpr Oid kCharArrayOid = 1002;
constexpr Oid kNameArrayOid = 1003;

// Types whose bytes and whose values are the same in every version from 13 on. Not numeric
// (infinities since 14), interval (since 17), and what is read as a text that newer versions have
// added to (jsonpath).
bool IsBasic(Oid type_oid) {
  switch (type_oid) {
    case BOOLOID:
    case BYTEAOID:
    case CHAROID:
    case NAMEOID:
    case INT8OID:
    case INT2OID:
    case INT4OID:
    case TEXTOID:
    case OIDOID:
    case JSONOID:
    case FLOAT4OID:
    case FLOAT8OID:
    case kMoneyOid:
    case BPCHAROID:
    case VARCHAROID:
    case DATEOID:
    case TIMEOID:
    case TIMESTAMPOID:
    case TIMESTAMPTZOID:
    case TIMETZOID:
    case UUIDOID:
    case kCharArrayOid:
    case kNameArrayOid:
      return true;
    default:
      return false;
  }
}

// OIDs below this are assigned by hand in the server's sources and are the same on every server
// and version; those above are given out by the build or by initdb.
bool HasStableOid(Oid type_oid) { return type_oid < FirstGenbkiObjectId; }

bool IsPortable(Oid type_oid, int depth);

// record_send writes the columns' type OIDs.
bool HasPortableColumns(Oid relation_oid, int depth) {
  Relation relation = RelationIdGetRelation(relation_oid);
  if (!RelationIsValid(relation)) return false;
  TupleDesc descriptor = RelationGetDescr(relation);
  bool is_portable = true;
  for (int i = 0; i < descriptor->natts && is_portable; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
    if (attribute->attisdropped) continue;
    is_portable = HasStableOid(attribute->atttypid) && IsPortable(attribute->atttypid, depth + 1);
  }
  RelationClose(relation);
  return is_portable;
}

bool IsPortable(Oid type_oid, int depth) {
  TypeFacts facts;
  if (depth > kTypeDepthMax || IsReferenceType(type_oid) || RefusesItsOwnBinary(type_oid) ||
      IsBoundToEncoding(type_oid) || !ReadType(type_oid, &facts)) {
    return false;
  }
  switch (facts.kind) {
    case TYPTYPE_BASE:
      if (!facts.has_binary) return false;
      // hstore_send writes the lengths of texts as they were before their conversion. What other
      // types that are not the server's do nobody knows.
      if (TextsAreConverted() && !facts.is_array && !HasStableOid(type_oid)) return false;
      // array_send writes the element type's OID.
      if (facts.is_array) return HasStableOid(facts.inner) && IsPortable(facts.inner, depth + 1);
      return true;
    case TYPTYPE_ENUM:
      return facts.has_binary;  // enum_send writes the label
    case TYPTYPE_DOMAIN:
    case TYPTYPE_RANGE:
#ifdef TYPTYPE_MULTIRANGE
    case TYPTYPE_MULTIRANGE:
#endif
      return facts.has_binary && OidIsValid(facts.inner) && IsPortable(facts.inner, depth + 1);
    case TYPTYPE_COMPOSITE:
      return facts.has_binary && HasPortableColumns(facts.relation, depth);
    default:
      return false;
  }
}

void Visit(Oid type_oid, int depth, const TypeVisitor& visitor) {
  TypeFacts facts;
  if (depth > kTypeDepthMax || type_oid < FirstNormalObjectId) return;
  visitor.visit_type(type_oid, visitor.arg);
  if (!ReadType(type_oid, &facts)) return;
  if (OidIsValid(facts.relation)) visitor.visit_relation(facts.relation, visitor.arg);
  if (OidIsValid(facts.inner)) Visit(facts.inner, depth + 1, visitor);
}

}  // namespace

bool TravelsAsBinary(Oid type_oid, BinaryTypes wanted) {
  switch (wanted) {
    case BinaryTypes::kNone:
      return false;
    case BinaryTypes::kBasic:
      return IsBasic(getBaseType(type_oid));
    case BinaryTypes::kPortable:
      return IsPortable(type_oid, 0);
  }
  return false;
}

void VisitUserTypes(Oid type_oid, const TypeVisitor& visitor) { Visit(type_oid, 0, visitor); }

}  // namespace towline::plugin
