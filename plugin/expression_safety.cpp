#include "expression_safety.h"

namespace towline::plugin {
namespace {

[[noreturn]] void Refuse(ParseState* pstate, int location, const char* problem,
                         const char* hint = nullptr) {
  ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("%s in a table rule", problem),
                  hint == nullptr ? 0 : errhint("%s", hint), parser_errposition(pstate, location)));
  pg_unreachable();
}

constexpr char kBuiltInHint[] =
    "Allowed are the server's built-in functions, operators and types whose results depend on "
    "nothing but their arguments.";

// pg_catalog is the whole search path (session_settings.cpp), so a bare name is looked up there.
bool IsCatalogName(List* names) {
  if (list_length(names) == 1) return true;
  return list_length(names) == 2 && strcmp(strVal(linitial(names)), "pg_catalog") == 0;
}

bool IsSystemColumn(const char* name) {
  for (const char* system : {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}) {
    if (strcmp(system, name) == 0) return true;
  }
  return false;
}

void CheckColumnReference(ParseState* pstate, const ColumnRef* reference) {
  if (IsA(llast(reference->fields), A_Star)) {
    Refuse(pstate, reference->location, "\"*\" is not allowed");
  }
  if (list_length(reference->fields) > 1) {
    Refuse(pstate, reference->location, "a qualified name is not allowed",
           "Name the column without its table.");
  }
  if (IsSystemColumn(strVal(linitial(reference->fields)))) {
    Refuse(pstate, reference->location, "system columns are not allowed");
  }
}

void CheckCall(ParseState* pstate, const FuncCall* call) {
  if (!IsCatalogName(call->funcname)) {
    Refuse(pstate, call->location, "functions outside of pg_catalog are not allowed", kBuiltInHint);
  }
  if (call->over != nullptr) {
    Refuse(pstate, call->location, "window functions are not allowed");
  }
  if (call->agg_order != NIL || call->agg_filter != nullptr || call->agg_within_group ||
      call->agg_star || call->agg_distinct) {
    Refuse(pstate, call->location, "aggregate functions are not allowed");
  }
}

void CheckTypeName(ParseState* pstate, const TypeName* type) {
  if (type->names != NIL && !IsCatalogName(type->names)) {
    Refuse(pstate, type->location, "types outside of pg_catalog are not allowed", kBuiltInHint);
  }
  if (type->setof || type->pct_type) {
    Refuse(pstate, type->location, "this notation of a type is not allowed");
  }
}

bool CheckSyntax(Node* node, void* arg) {
  auto* pstate = static_cast<ParseState*>(arg);
  if (node == nullptr) return false;
  check_stack_depth();
  CHECK_FOR_INTERRUPTS();
  int location = exprLocation(node);
  switch (nodeTag(node)) {
    case T_List:
    case T_A_Const:
    case T_TypeCast:
    case T_BoolExpr:
    case T_NullTest:
    case T_BooleanTest:
    case T_CaseExpr:
    case T_CaseWhen:
    case T_CoalesceExpr:
    case T_MinMaxExpr:
    case T_A_ArrayExpr:
    case T_A_Indices:
    case T_RowExpr:
    case T_Integer:  // the bounds of an array type
      break;
    case T_ColumnRef:
      CheckColumnReference(pstate, reinterpret_cast<ColumnRef*>(node));
      return false;
    case T_FuncCall:
      CheckCall(pstate, reinterpret_cast<FuncCall*>(node));
      break;
    case T_A_Expr:
      if (!IsCatalogName(reinterpret_cast<A_Expr*>(node)->name)) {
        Refuse(pstate, location, "operators outside of pg_catalog are not allowed", kBuiltInHint);
      }
      break;
    case T_A_Indirection: {
      location = exprLocation(reinterpret_cast<A_Indirection*>(node)->arg);
      ListCell* cell;
      foreach (cell, reinterpret_cast<A_Indirection*>(node)->indirection) {
        if (!IsA(lfirst(cell), A_Indices)) {
          Refuse(pstate, location, "parts of composite values are not allowed");
        }
      }
      break;
    }
    case T_TypeName:
      CheckTypeName(pstate, reinterpret_cast<TypeName*>(node));
      break;
    case T_CollateClause:
      if (!IsCatalogName(reinterpret_cast<CollateClause*>(node)->collname)) {
        Refuse(pstate, location, "collations outside of pg_catalog are not allowed");
      }
      break;
    case T_SubLink:
      Refuse(pstate, location, "subqueries are not allowed");
    case T_ParamRef:
      Refuse(pstate, location, "parameters are not allowed");
    case T_SQLValueFunction:
      Refuse(pstate, location, "values of the session or the clock are not allowed");
    default:
      Refuse(pstate, location, "this kind of expression is not allowed");
  }
  return WalkRawExpression(node, CheckSyntax, arg);
}

bool IsBuiltIn(Oid oid) { return oid < kFirstUserObjectId; }

// Whether something of that name in pg_catalog was not built in: an extension may put it there.
bool HasForeignNamesake(SysCacheId cache, const char* name) {
  CatCList* list = SearchSysCacheList1(cache, CStringGetDatum(name));
  bool is_found = false;
  for (int i = 0; i < list->n_members && !is_found; ++i) {
    HeapTuple tuple = &list->members[i]->tuple;
    if (cache == PROCNAMEARGSNSP) {
      auto* form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
      is_found = form->pronamespace == PG_CATALOG_NAMESPACE && !IsBuiltIn(form->oid);
    } else {
      auto* form = reinterpret_cast<Form_pg_operator>(GETSTRUCT(tuple));
      is_found = form->oprnamespace == PG_CATALOG_NAMESPACE && !IsBuiltIn(form->oid);
    }
  }
  ReleaseSysCacheList(list);
  return is_found;
}

void CheckNamesake(ParseState* pstate, SysCacheId cache, List* names, int location) {
  const char* name = strVal(llast(names));
  if (!HasForeignNamesake(cache, name)) return;
  Refuse(pstate, location,
         psprintf("\"%s\", a name that something not built in shares, is not allowed", name));
}

bool CheckNames(Node* node, void* arg) {
  auto* pstate = static_cast<ParseState*>(arg);
  if (node == nullptr) return false;
  check_stack_depth();
  CHECK_FOR_INTERRUPTS();
  if (IsA(node, FuncCall)) {
    auto* call = reinterpret_cast<FuncCall*>(node);
    CheckNamesake(pstate, PROCNAMEARGSNSP, call->funcname, call->location);
  } else if (IsA(node, A_Expr)) {
    auto* expression = reinterpret_cast<A_Expr*>(node);
    CheckNamesake(pstate, OPERNAMENSP, expression->name, expression->location);
  } else if (IsA(node, TypeName)) {
    auto* name = reinterpret_cast<TypeName*>(node);
    Oid type = typenameTypeId(pstate, name);
    if (!IsBuiltIn(type) || !IsReadableType(type)) {
      Refuse(pstate, name->location, psprintf("type %s is not allowed", format_type_be(type)),
             kBuiltInHint);
    }
  }
  return WalkRawExpression(node, CheckNames, arg);
}

// Types whose values are data and nothing else, and which the server can order by itself: without
// an order of its own an array's comparison would use one that a user may have declared.
bool IsOrderedType(Oid type) {
  switch (type) {
    case BOOLOID:
    case BYTEAOID:
    case CHAROID:
    case NAMEOID:
    case INT8OID:
    case INT2OID:
    case INT4OID:
    case TEXTOID:
    case OIDOID:
    case FLOAT4OID:
    case FLOAT8OID:
    case CASHOID:
    case MACADDROID:
    case MACADDR8OID:
    case INETOID:
    case CIDROID:
    case BPCHAROID:
    case VARCHAROID:
    case DATEOID:
    case TIMEOID:
    case TIMESTAMPOID:
    case TIMESTAMPTZOID:
    case INTERVALOID:
    case TIMETZOID:
    case BITOID:
    case VARBITOID:
    case NUMERICOID:
    case UUIDOID:
    case JSONBOID:
    case kPgLsnOid:
    case TSVECTOROID:
    case TSQUERYOID:
      return true;
    default:
      return false;
  }
}

bool IsUnorderedType(Oid type) {
  switch (type) {
    case JSONOID:
    case JSONPATHOID:
    case POINTOID:
    case LSEGOID:
    case PATHOID:
    case BOXOID:
    case POLYGONOID:
    case LINEOID:
    case CIRCLEOID:
      return true;
    default:
      return false;
  }
}

bool IsPlainType(Oid type) {
  if (IsOrderedType(type)) return true;
  char kind = get_typtype(type);
  if (kind == TYPTYPE_ENUM) return true;
  // Built-in ranges are over ordered types.
  return IsBuiltIn(type) && (kind == TYPTYPE_RANGE || IsMultirangeKind(kind));
}

struct SafetyCheck {
  ParseState* pstate;
  const Bitmapset* clock_words;  // where there are constants with one
  ExpressionStage stage;
  int location;  // of the node that is looked at
};

bool CheckFunction(Oid function, void* arg) {
  auto* check = static_cast<SafetyCheck*>(arg);
  HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(tuple)) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                    errmsg("cache lookup failed for function %u", function)));
  }
  auto* form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
  const char* name = pstrdup(NameStr(form->proname));
  char volatility = form->provolatile;
  Oid language = form->prolang;
  bool returns_set = form->proretset;
  ReleaseSysCache(tuple);
  if (!IsBuiltIn(function)) {
    Refuse(check->pstate, check->location,
           psprintf("function %s is not built in and not allowed", name), kBuiltInHint);
  }
  if (volatility != PROVOLATILE_IMMUTABLE) {
    Refuse(check->pstate, check->location,
           psprintf("function %s is not immutable and not allowed", name), kBuiltInHint);
  }
  // A built-in SQL function that is not replaced by what it stands for would run a query.
  bool is_internal = language == INTERNALlanguageId ||
                     (language == SQLlanguageId && check->stage == ExpressionStage::kParsed);
  // It opens a table and evaluates the keys of its partitions.
  bool reads_catalog = function == F_SATISFIES_HASH_PARTITION;
  if (!is_internal || returns_set || reads_catalog) {
    Refuse(check->pstate, check->location, psprintf("function %s is not allowed", name),
           kBuiltInHint);
  }
  return false;
}

void CheckType(const SafetyCheck* check, const Node* node) {
  Oid type = exprType(node);
  if (type == UNKNOWNOID || IsReadableType(type)) return;
  // Only until planning, which takes it apart.
  if (type == RECORDOID && check->stage != ExpressionStage::kPlanned) return;
  Refuse(check->pstate, check->location,
         psprintf("a value of type %s is not allowed", format_type_be(type)), kBuiltInHint);
}

bool HoldsWord(const char* text, std::string_view word) {
  for (; *text != '\0'; ++text) {
    if (pg_strncasecmp(text, word.data(), word.size()) == 0) return true;
  }
  return false;
}

bool IsClockWord(const A_Const* constant) {
  const char* text = StringOf(constant);
  if (text == nullptr) return false;
  for (std::string_view word : {"now", "today", "tomorrow", "yesterday"}) {
    if (HoldsWord(text, word)) return true;
  }
  return false;
}

bool FindClockWords(Node* node, void* arg) {
  auto** found = static_cast<Bitmapset**>(arg);
  if (node == nullptr) return false;
  CHECK_FOR_INTERRUPTS();
  if (!IsA(node, A_Const)) return WalkRawExpression(node, FindClockWords, arg);
  auto* constant = reinterpret_cast<A_Const*>(node);
  if (IsClockWord(constant)) *found = bms_add_member(*found, constant->location);
  return false;
}

bool FindClockWord(Node* node, void* arg) {
  if (node == nullptr) return false;
  CHECK_FOR_INTERRUPTS();
  if (!IsA(node, A_Const)) return WalkRawExpression(node, FindClockWord, arg);
  return IsClockWord(reinterpret_cast<A_Const*>(node));
}

// 'now' and the like mean the moment at which the text is read: another one in the copy, and
// another one after each restart.
void CheckConstant(const SafetyCheck* check, const Const* constant) {
  if (constant->location < 0 || !bms_is_member(constant->location, check->clock_words)) return;
  if (!MayMeanNow(constant->consttype)) return;
  Refuse(check->pstate, constant->location, "a constant that depends on the clock is not allowed");
}

void CheckMinMax(SafetyCheck* check, const MinMaxExpr* node) {
  TypeCacheEntry* type = lookup_type_cache(node->minmaxtype, TYPECACHE_CMP_PROC);
  if (OidIsValid(type->cmp_proc)) (void)CheckFunction(type->cmp_proc, check);
}

void CheckRowCompare(SafetyCheck* check, const RowCompareExpr* node) {
  ListCell* cell;
  foreach (cell, node->opfamilies) {
    if (!IsBuiltIn(lfirst_oid(cell))) {
      Refuse(check->pstate, check->location, "this comparison of rows is not allowed",
             kBuiltInHint);
    }
  }
}

bool CheckSafety(Node* node, void* arg) {
  if (node == nullptr) return false;
  check_stack_depth();
  CHECK_FOR_INTERRUPTS();
  SafetyCheck check = *static_cast<SafetyCheck*>(arg);
  bool is_list = IsA(node, List);
  if (!is_list) {
    int location = exprLocation(node);
    if (location >= 0) check.location = location;
  }
  switch (nodeTag(node)) {
    case T_List:
    case T_Var:
    case T_FuncExpr:
    case T_OpExpr:
    case T_DistinctExpr:
    case T_NullIfExpr:
    case T_ScalarArrayOpExpr:
    case T_BoolExpr:
    case T_RelabelType:
    case T_CoerceViaIO:
    case T_ArrayCoerceExpr:
    case T_CollateExpr:
    case T_CaseExpr:
    case T_CaseWhen:
    case T_CaseTestExpr:
    case T_ArrayExpr:
    case T_CoalesceExpr:
    case T_NullTest:
    case T_BooleanTest:
    case T_SubscriptingRef:
      break;
    case T_Const:
      CheckConstant(&check, reinterpret_cast<Const*>(node));
      break;
    case T_MinMaxExpr:
      CheckMinMax(&check, reinterpret_cast<MinMaxExpr*>(node));
      break;
    case T_RowCompareExpr:
      CheckRowCompare(&check, reinterpret_cast<RowCompareExpr*>(node));
      break;
    case T_RowExpr:
      if (check.stage != ExpressionStage::kPlanned) break;
      Refuse(check.pstate, check.location, "a row as a value is not allowed");
    default:
      Refuse(check.pstate, check.location, "this kind of expression is not allowed");
  }
  if (!is_list) {
    CheckType(&check, node);
    (void)check_functions_in_node(node, CheckFunction, &check);
    Oid collation = exprInputCollation(node);
    if (OidIsValid(collation) && collation >= FirstNormalObjectId) {
      Refuse(check.pstate, check.location, "a collation that a user has made is not allowed",
             "Name a built-in one: expression COLLATE \"C\".");
    }
  }
  return WalkExpression(node, CheckSafety, &check);
}

}  // namespace

void CheckSyntaxIsSafe(ParseState* pstate, Node* raw) { (void)CheckSyntax(raw, pstate); }

void CheckNamesAreSafe(ParseState* pstate, Node* raw) { (void)CheckNames(raw, pstate); }

bool IsReadableType(Oid type) {
  Oid base = getBaseType(type);
  if (IsUnorderedType(base) || IsPlainType(base)) return true;
  Oid element = get_element_type(base);
  return OidIsValid(element) && IsPlainType(element);
}

bool MayMeanNow(Oid type) {
  Oid element = get_element_type(type);
  if (OidIsValid(element)) type = element;
  switch (type) {
    case DATEOID:
    case TIMEOID:
    case TIMETZOID:
    case TIMESTAMPOID:
    case TIMESTAMPTZOID:
      return true;
    default:
      return get_typtype(type) == TYPTYPE_RANGE || IsMultirangeKind(get_typtype(type));
  }
}

bool HoldsClockWord(Node* raw) { return FindClockWord(raw, nullptr); }

void CheckExpressionIsSafe(ParseState* pstate, Node* expression, Node* raw, ExpressionStage stage) {
  Bitmapset* clock_words = nullptr;
  (void)FindClockWords(raw, &clock_words);
  SafetyCheck check{pstate, clock_words, stage, -1};
  (void)CheckSafety(expression, &check);
}

}  // namespace towline::plugin
