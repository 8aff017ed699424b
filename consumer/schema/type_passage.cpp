#include "schema/type_passage.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace towline {
namespace {

constexpr int kHeaderBytes =
    4;  // VARHDRSZ, which text-like types and numeric add to their modifier
constexpr int kNoModifier = -1;

// Modifier of numeric(p, s); the scale is signed since 15, in eleven bits.
int PrecisionOf(int typmod) { return ((typmod - kHeaderBytes) >> 16) & 0xffff; }
int ScaleOf(int typmod) { return (((typmod - kHeaderBytes) & 0x7ff) ^ 1024) - 1024; }

template <size_t kCount>
bool IsOneOf(absl::string_view name, const absl::string_view (&names)[kCount]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool IsBuiltIn(const ColumnType& type, absl::string_view name) {
  return type.schema == "pg_catalog" && type.name == name;
}

bool IsText(const ColumnType& type) {
  return IsBuiltIn(type, "text") || IsBuiltIn(type, "varchar");
}

bool IsUnlimitedText(const ColumnType& type) { return IsText(type) && type.typmod == kNoModifier; }

// A narrower modifier would round or refuse values, and a longer char(n) or scale would pad them.
bool IsSameOrWider(const ColumnType& source, const ColumnType& destination) {
  if (destination.typmod == source.typmod) return true;
  if (destination.typmod == kNoModifier) return true;
  if (source.typmod == kNoModifier || source.schema != "pg_catalog") return false;
  constexpr absl::string_view kLimited[] = {"varchar", "varbit",    "time",
                                            "timetz",  "timestamp", "timestamptz"};
  absl::string_view name = source.name;
  absl::ConsumePrefix(&name, "_");  // the modifier of an array is its elements'
  if (IsOneOf(name, kLimited)) return destination.typmod > source.typmod;
  return name == "numeric" && ScaleOf(destination.typmod) == ScaleOf(source.typmod) &&
         PrecisionOf(destination.typmod) > PrecisionOf(source.typmod);
}

// 0: no integer type.
int DigitsOf(const ColumnType& type) {
  if (IsBuiltIn(type, "int2")) return 5;
  if (IsBuiltIn(type, "int4")) return 10;
  return IsBuiltIn(type, "int8") ? 19 : 0;
}

bool IsWiderNumber(const ColumnType& source, const ColumnType& destination) {
  const int digits = DigitsOf(source);
  if (digits == 0) return IsBuiltIn(source, "float4") && IsBuiltIn(destination, "float8");
  if (DigitsOf(destination) > digits) return true;
  if (!IsBuiltIn(destination, "numeric")) return false;
  return destination.typmod == kNoModifier ||
         (ScaleOf(destination.typmod) >= 0 &&
          PrecisionOf(destination.typmod) - ScaleOf(destination.typmod) >= digits);
}

// Types whose text depends on nothing but the value, on every server and version. Not "char" (bytes
// without encoding), money (the locale), those whose text names other objects (reg*, aclitem) and
// those of the catalogs' own use.
bool HasText(const ColumnType& type) {
  if (type.schema != "pg_catalog") return false;
  absl::string_view name = type.name;
  absl::ConsumePrefix(&name, "_");  // an array of it
  constexpr absl::string_view kNames[] = {"bool",
                                          "int2",
                                          "int4",
                                          "int8",
                                          "oid",
                                          "numeric",
                                          "float4",
                                          "float8",
                                          "date",
                                          "time",
                                          "timetz",
                                          "timestamp",
                                          "timestamptz",
                                          "interval",
                                          "uuid",
                                          "inet",
                                          "cidr",
                                          "macaddr",
                                          "macaddr8",
                                          "json",
                                          "jsonb",
                                          "jsonpath",
                                          "xml",
                                          "bytea",
                                          "bit",
                                          "varbit",
                                          "name",
                                          "bpchar",
                                          "text",
                                          "varchar",
                                          "xid",
                                          "xid8",
                                          "pg_lsn",
                                          "tid",
                                          "tsvector",
                                          "tsquery",
                                          "point",
                                          "lseg",
                                          "path",
                                          "box",
                                          "polygon",
                                          "line",
                                          "circle",
                                          "int4range",
                                          "int8range",
                                          "numrange",
                                          "tsrange",
                                          "tstzrange",
                                          "daterange",
                                          "int4multirange",
                                          "int8multirange",
                                          "nummultirange",
                                          "tsmultirange",
                                          "tstzmultirange",
                                          "datemultirange"};
  return IsOneOf(name, kNames);
}

// An array of the server's own; those of users may have any name.
bool IsArray(const ColumnType& type) {
  return type.schema == "pg_catalog" && absl::StartsWith(type.name, "_");
}

ColumnType ElementOf(ColumnType array) {
  array.name.remove_prefix(1);
  return array;
}

ColumnType BaseOf(const ColumnType& type) {
  if (type.base == nullptr) return type;
  return {type.base->schema, type.base->name, type.base->kind, type.base->typmod};
}

// Of domains of the same name too: each server may have its own.
bool HasSameBase(const ColumnType& a, const ColumnType& b) {
  return a.base == nullptr || b.base == nullptr || *a.base == *b.base;
}

}  // namespace

Passage FindPassage(const ColumnType& source, const ColumnType& destination) {
  // By name: object identifiers of user-defined types differ between servers.
  if (source.schema == destination.schema && source.name == destination.name &&
      HasSameBase(source, destination)) {
    return IsSameOrWider(source, destination) ? Passage::kAsIs : Passage::kNone;
  }
  if (source.base != nullptr || destination.base != nullptr) {
    return FindPassage(BaseOf(source), BaseOf(destination));
  }
  // Binary arrays name the type of their elements, so that one is never taken for another.
  if (IsArray(source) && IsArray(destination)) {
    const Passage of_elements = FindPassage(ElementOf(source), ElementOf(destination));
    return of_elements == Passage::kNone ? Passage::kNone : Passage::kCast;
  }
  if (IsText(source) && IsText(destination)) {
    const bool fits = destination.typmod == kNoModifier;
    return fits ? Passage::kAsIs : Passage::kNone;
  }
  // Binary and text of an enum are its label. One that the destination's enum lacks is an error.
  if (source.kind == 'e' && IsUnlimitedText(destination)) return Passage::kAsIs;
  if (IsText(source) && destination.kind == 'e') return Passage::kAsIs;
  bool is_cast = IsWiderNumber(source, destination) ||
                 (IsBuiltIn(source, "json") && IsBuiltIn(destination, "jsonb")) ||
                 (IsBuiltIn(source, "jsonb") && IsBuiltIn(destination, "json")) ||
                 (IsBuiltIn(source, "date") && IsBuiltIn(destination, "timestamp")) ||
                 (HasText(source) && IsUnlimitedText(destination));
  return is_cast ? Passage::kCast : Passage::kNone;
}

ColumnType TypeOf(const Column& column, const DomainBases& domains) {
  auto domain = domains.find(column.type_oid);
  const bool is_known = column.type_kind == 'd' && domain != domains.end();
  return {column.type_schema, column.type_name, column.type_kind, column.typmod,
          is_known ? &domain->second : nullptr};
}

ColumnType TypeOf(const TableColumn& column) {
  return {column.type_schema, column.type_name, column.type_kind, column.typmod,
          column.base.has_value() ? &*column.base : nullptr};
}

const std::string& CastTypeText(const TableColumn& destination) {
  return destination.base.has_value() ? destination.base->text : destination.type_text;
}

}  // namespace towline
