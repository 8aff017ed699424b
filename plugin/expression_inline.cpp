#include "expression_inline.h"

namespace towline::plugin {
namespace {

// Numbers that no column of a table has.
constexpr int kFirstArgument = 10000;
static_assert(kFirstArgument > MaxTupleAttributeNumber);

bool IsSqlFunction(Oid function) {
  HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(tuple)) return false;
  bool is_sql = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->prolang == SQLlanguageId;
  ReleaseSysCache(tuple);
  return is_sql;
}

// Whether it holds the value of a CASE, or the element of an array that is converted, around it.
bool HoldsOuterValue(Node* node, void* arg) {
  if (node == nullptr) return false;
  if (IsA(node, CaseTestExpr)) return true;
  // What these hold besides has a value or an element of their own.
  if (IsA(node, CaseExpr)) {
    return HoldsOuterValue(reinterpret_cast<Node*>(castNode(CaseExpr, node)->arg), arg);
  }
  if (IsA(node, ArrayCoerceExpr)) {
    return HoldsOuterValue(reinterpret_cast<Node*>(castNode(ArrayCoerceExpr, node)->arg), arg);
  }
  return WalkExpression(node, HoldsOuterValue, arg);
}

// The arguments of a call; null for other nodes.
List** ArgumentsOf(Node* node) {
  if (IsA(node, FuncExpr)) {
    return IsSqlFunction(castNode(FuncExpr, node)->funcid) ? &castNode(FuncExpr, node)->args
                                                           : nullptr;
  }
  if (!IsA(node, OpExpr)) return nullptr;
  auto* expression = castNode(OpExpr, node);
  set_opfuncid(expression);
  return IsSqlFunction(expression->opfuncid) ? &expression->args : nullptr;
}

Node* PutArguments(Node* node, void* arg) {
  if (node == nullptr) return nullptr;
  if (IsA(node, Var) && castNode(Var, node)->varattno >= kFirstArgument) {
    int index = castNode(Var, node)->varattno - kFirstArgument;
    return static_cast<Node*>(copyObjectImpl(list_nth(static_cast<List*>(arg), index)));
  }
  return MutateExpression(node, PutArguments, arg);
}

Node* Inline(Node* node, void* arg) {
  if (node == nullptr) return nullptr;
  check_stack_depth();
  CHECK_FOR_INTERRUPTS();
  node = MutateExpression(node, Inline, arg);
  if (IsA(node, List)) return node;
  List** arguments = ArgumentsOf(node);
  // Without arguments it would be run. The value of a CASE is another one inside of another CASE.
  if (arguments == nullptr || *arguments == NIL ||
      HoldsOuterValue(reinterpret_cast<Node*>(*arguments), nullptr)) {
    return node;
  }
  List* given = *arguments;
  List* columns = NIL;
  ListCell* cell;
  foreach (cell, given) {
    auto* argument = static_cast<Node*>(lfirst(cell));
    columns = lappend(
        columns, makeVar(1, static_cast<AttrNumber>(kFirstArgument + list_length(columns)),
                         exprType(argument), exprTypmod(argument), exprCollation(argument), 0));
  }
  *arguments = columns;
  auto* planned = reinterpret_cast<Node*>(expression_planner(reinterpret_cast<Expr*>(node)));
  return PutArguments(planned, given);
}

}  // namespace

Node* InlineSqlFunctions(Node* expression) { return Inline(expression, nullptr); }

}  // namespace towline::plugin
