#include "schema/type_rules.h"

#include <gtest/gtest.h>

namespace towline {
namespace {

constexpr Oid kInt4 = 23;
constexpr Oid kText = 25;
constexpr Oid kJson = 114;
constexpr Oid kRegclass = 2205;
constexpr Oid kInt4Array = 1007;
constexpr Oid kRegclassArray = 2210;
constexpr Oid kInformationSchemaDomain = 13000;
constexpr Oid kUser = 20000;  // and on

class TypeRulesTest : public testing::Test {
 protected:
  TypeRulesTest() {
    AddBase(kInt4, "int4");
    AddBase(kText, "text");
    AddBase(kJson, "json");
    types_[kJson].has_operator_class = false;
    AddBase(kRegclass, "regclass");
    AddArray(kInt4Array, kInt4);
    AddArray(kRegclassArray, kRegclass);
  }
  void AddBase(Oid oid, const std::string& name, bool is_in_pg_catalog = true) {
    TypeFacts type;
    type.name = name;
    type.is_in_pg_catalog = is_in_pg_catalog;
    type.has_send_and_receive = true;
    type.has_operator_class = true;
    types_[oid] = type;
  }
  TypeFacts& Add(Oid oid, char kind) {
    AddBase(oid, "user_defined", false);
    types_[oid].kind = kind;
    types_[oid].has_operator_class = false;
    return types_[oid];
  }
  void AddArray(Oid oid, Oid element) {
    TypeFacts& type = Add(oid, 'b');
    type.is_array = true;
    type.element = element;
  }
  bool IsBinary(Oid oid) const { return IsPortableBinary(types_, oid); }

  TypeCatalog types_;
};

TEST_F(TypeRulesTest, BuiltInTypesTravelInBinaryUnlessTheyNameObjects) {
  EXPECT_TRUE(IsBinary(kInt4));
  EXPECT_TRUE(IsBinary(kInt4Array));
  EXPECT_FALSE(IsBinary(kRegclass));
  EXPECT_FALSE(IsBinary(kRegclassArray));
}

TEST_F(TypeRulesTest, ADomainsBaseIsTheLastOneWithTheModifierOfTheDomainAboveIt) {
  TypeFacts& inner = Add(90001, 'd');
  inner.base = kInt4;
  inner.base_typmod = 7;
  inner.base_text = "integer";
  TypeFacts& outer = Add(90002, 'd');
  outer.base = 90001;
  outer.base_text = "public.inner";
  types_[kInt4].schema = "pg_catalog";
  const std::optional<DomainBase> base = DomainBaseOf(types_, 90002);
  ASSERT_TRUE(base.has_value());
  EXPECT_EQ(base->oid, kInt4);
  EXPECT_EQ(base->schema, "pg_catalog");
  EXPECT_EQ(base->text, "integer");
  EXPECT_EQ(base->typmod, 7);
  EXPECT_FALSE(DomainBaseOf(types_, kInt4).has_value());
  EXPECT_FALSE(DomainBaseOf(types_, 99999).has_value());
  EXPECT_EQ(DomainBasesOf(types_).size(), 2U);
}

TEST_F(TypeRulesTest, WhatIsBoundToTheEncodingTravelsAsText) {
  types_[kText].is_bound_to_encoding = true;
  AddArray(1009, kText);
  EXPECT_FALSE(IsBinary(kText));
  EXPECT_FALSE(IsBinary(1009));
}

TEST_F(TypeRulesTest, BasicTypesAreFoundBelowDomains) {
  Add(kUser, 'd').base = kInt4;
  Add(kUser + 1, 'd').base = kUser;
  EXPECT_EQ(BaseTypeOf(types_, kUser + 1), kInt4);
  EXPECT_EQ(BaseTypeOf(types_, kText), kText);
  EXPECT_EQ(BaseTypeOf(types_, kUser + 9), kUser + 9);
  EXPECT_TRUE(IsBasicType(kInt4));
  EXPECT_FALSE(IsBasicType(1700));  // numeric
  EXPECT_FALSE(IsBasicType(kInt4Array));
}

TEST_F(TypeRulesTest, VectorsThatRefuseTheirOwnEmptyBinaryTravelAsText) {
  AddBase(22, "int2vector");
  AddBase(30, "oidvector");
  EXPECT_FALSE(IsBinary(22));
  EXPECT_FALSE(IsBinary(30));
}

TEST_F(TypeRulesTest, TypeWithoutBinaryFormTravelsAsText) {
  types_[kText].has_send_and_receive = false;
  EXPECT_FALSE(IsBinary(kText));
}

TEST_F(TypeRulesTest, UnknownTypeTravelsAsText) { EXPECT_FALSE(IsBinary(4711)); }

TEST_F(TypeRulesTest, ExtensionTypesTravelInBinaryButNotTheirArrays) {
  AddBase(kUser, "regular", false);  // a name that begins like those of reg* types
  AddArray(kUser + 1, kUser);
  EXPECT_TRUE(IsBinary(kUser));
  EXPECT_FALSE(IsBinary(kUser + 1));
}

TEST_F(TypeRulesTest, EnumsTravelInBinaryButNotTheirArrays) {
  Add(kUser, 'e');
  AddArray(kUser + 1, kUser);
  EXPECT_TRUE(IsBinary(kUser));
  EXPECT_FALSE(IsBinary(kUser + 1));
}

TEST_F(TypeRulesTest, DomainFollowsItsBase) {
  Add(kUser, 'd').base = kInt4Array;
  Add(kUser + 1, 'd').base = kRegclass;
  Add(kUser + 2, 'd').base = kUser;
  EXPECT_TRUE(IsBinary(kUser));
  EXPECT_FALSE(IsBinary(kUser + 1));
  EXPECT_TRUE(IsBinary(kUser + 2));
}

TEST_F(TypeRulesTest, ArrayOverTypeWhoseOidVariesTravelsAsText) {
  Add(kInformationSchemaDomain, 'd').base = kInt4;
  AddArray(kUser, kInformationSchemaDomain);
  EXPECT_FALSE(IsBinary(kUser));
}

TEST_F(TypeRulesTest, RangeAndMultirangeFollowTheSubtype) {
  Add(kUser, 'r').subtype = kInt4;
  Add(kUser + 1, 'm').subtype = kUser;
  Add(kUser + 2, 'r').subtype = kRegclass;
  EXPECT_TRUE(IsBinary(kUser));
  EXPECT_TRUE(IsBinary(kUser + 1));
  EXPECT_FALSE(IsBinary(kUser + 2));
}

TEST_F(TypeRulesTest, CompositeOfBuiltInTypesTravelsInBinary) {
  Add(kUser, 'c').members = {kInt4, kText};
  Add(kUser + 1, 'e');
  Add(kUser + 2, 'c').members = {kInt4, kUser + 1};
  Add(kUser + 3, 'c').members = {kRegclass};
  EXPECT_TRUE(IsBinary(kUser));
  EXPECT_FALSE(IsBinary(kUser + 2));
  EXPECT_FALSE(IsBinary(kUser + 3));
}

TEST_F(TypeRulesTest, DamagedCatalogThatGoesInCirclesEnds) {
  Add(kUser, 'd').base = kUser;
  EXPECT_FALSE(IsBinary(kUser));
  EXPECT_FALSE(HasEquality(types_, kUser));
}

TEST_F(TypeRulesTest, EqualityFollowsElementsAndMembers) {
  EXPECT_TRUE(HasEquality(types_, kInt4));
  EXPECT_TRUE(HasEquality(types_, kInt4Array));
  EXPECT_FALSE(HasEquality(types_, kJson));
  AddArray(kUser, kJson);
  EXPECT_FALSE(HasEquality(types_, kUser));
  Add(kUser + 1, 'c').members = {kInt4, kJson};
  EXPECT_FALSE(HasEquality(types_, kUser + 1));
  Add(kUser + 2, 'e');
  EXPECT_TRUE(HasEquality(types_, kUser + 2));
  Add(kUser + 3, 'd').base = kJson;
  EXPECT_FALSE(HasEquality(types_, kUser + 3));
}

}  // namespace
}  // namespace towline
