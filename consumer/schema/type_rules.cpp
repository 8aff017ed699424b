#include "schema/type_rules.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"

namespace towline {
namespace {

// Hand-assigned, hence the same on every server and version (access/transam.h,
// FirstGenbkiObjectId).
constexpr Oid kFirstVaryingOid = 10000;

// No type is nested deeper; the server itself refuses composites that contain themselves.
constexpr int kDepthMax = 32;

// bool, bytea, "char", name, int8, int2, int4, text, oid, json, float4, float8, money, bpchar,
// varchar, date, time, timestamp, timestamptz, timetz, uuid. Not numeric (infinities since 14),
// interval (since 17), and what is read as a text that newer versions have added to (jsonpath).
constexpr Oid kBasicTypes[] = {16,  17,   18,   19,   20,   21,   23,   25,   26,   114,  700, 701,
                               790, 1002, 1003, 1042, 1043, 1082, 1083, 1114, 1184, 1266, 2950};

bool IsFixed(Oid oid) { return oid != 0 && oid < kFirstVaryingOid; }

// The bytes of reg* types are OIDs of other objects; int2vector and oidvector refuse to receive the
// empty vector that they send.
bool IsTextOnly(const TypeFacts& type, Oid oid) {
  return type.is_in_pg_catalog && IsFixed(oid) &&
         (absl::StartsWith(type.name, "reg") || type.name == "int2vector" ||
          type.name == "oidvector");
}

bool IsPortable(const TypeCatalog& types, Oid oid, int depth) {
  auto found = types.find(oid);
  if (found == types.end() || depth > kDepthMax) return false;
  const TypeFacts& type = found->second;
  if (!type.has_send_and_receive) return false;
  // array_send writes the element's oid, record_send those of its columns.
  if (type.is_array) return IsFixed(type.element) && IsPortable(types, type.element, depth + 1);
  switch (type.kind) {
    case 'b':
      return !IsTextOnly(type, oid) && !type.is_bound_to_encoding;
    case 'e':
      return true;
    case 'd':
      return IsPortable(types, type.base, depth + 1);
    case 'r':
    case 'm':
      return IsPortable(types, type.subtype, depth + 1);
    case 'c':
      return std::all_of(type.members.begin(), type.members.end(), [&](Oid member) {
        return IsFixed(member) && IsPortable(types, member, depth + 1);
      });
    default:
      return false;
  }
}

bool CanCompare(const TypeCatalog& types, Oid oid, int depth) {
  auto found = types.find(oid);
  if (found == types.end() || depth > kDepthMax) return false;
  const TypeFacts& type = found->second;
  if (type.is_array) return CanCompare(types, type.element, depth + 1);
  switch (type.kind) {
    case 'd':
      return CanCompare(types, type.base, depth + 1);
    case 'e':
    case 'r':
    case 'm':
      return true;  // anyenum, anyrange, anymultirange
    case 'c':
      return std::all_of(type.members.begin(), type.members.end(),
                         [&](Oid member) { return CanCompare(types, member, depth + 1); });
    default:
      return type.has_operator_class;
  }
}

}  // namespace

bool IsPortableBinary(const TypeCatalog& types, Oid oid) { return IsPortable(types, oid, 0); }
ServerPair MakePair(int source_version, const std::string& source_encoding, int destination_version,
                    const std::string& destination_encoding) {
  constexpr int kMajor = 10000;
  return {destination_version / kMajor < source_version / kMajor,
          destination_encoding != source_encoding, destination_encoding};
}

bool IsBasicType(Oid oid) {
  return std::find(std::begin(kBasicTypes), std::end(kBasicTypes), oid) != std::end(kBasicTypes);
}

Oid BaseTypeOf(const TypeCatalog& types, Oid oid) {
  for (int depth = 0; depth < kDepthMax; ++depth) {
    auto found = types.find(oid);
    if (found == types.end() || found->second.kind != 'd') break;
    oid = found->second.base;
  }
  return oid;
}

std::optional<DomainBase> DomainBaseOf(const TypeCatalog& types, Oid oid) {
  std::optional<DomainBase> base;
  for (int depth = 0; depth < kDepthMax; ++depth) {
    auto found = types.find(oid);
    if (found == types.end()) return std::nullopt;
    const TypeFacts& type = found->second;
    if (type.kind != 'd') {
      if (!base.has_value()) return base;
      base->oid = oid;
      base->schema = type.schema;
      base->name = type.name;
      base->kind = type.kind;
      return base;
    }
    // A domain over a domain gives no modifier of its own.
    base.emplace();
    base->text = type.base_text;
    base->typmod = type.base_typmod;
    oid = type.base;
  }
  return std::nullopt;
}

std::map<Oid, DomainBase> DomainBasesOf(const TypeCatalog& types) {
  std::map<Oid, DomainBase> bases;
  for (const auto& [oid, type] : types) {
    std::optional<DomainBase> base = DomainBaseOf(types, oid);
    if (base.has_value()) bases.emplace(oid, *std::move(base));
  }
  return bases;
}

bool HasEquality(const TypeCatalog& types, Oid oid) { return CanCompare(types, oid, 0); }

}  // namespace towline
