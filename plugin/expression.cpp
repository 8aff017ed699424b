#include "expression.h"

#include "error_context.h"
#include "expression_inline.h"
#include "expression_safety.h"

namespace towline::plugin {
namespace {

// The line break ends a comment at the end of the expression.
constexpr char kPrefix[] = "SELECT (";
constexpr char kSuffix[] = "\n)";
constexpr int kPrefixLength = sizeof kPrefix - 1;

// Where the expression begins, from 1: what is wrong with all of it is wrong there.
int BeginningOf(const char* text) {
  const char* at = text;
  while (scanner_isspace(*at)) ++at;
  return *at == '\0' ? 1 : static_cast<int>(at - text) + 1;  // blanks have one byte
}

// The character of the text that an error is about, from 1; `otherwise` if it does not say.
int TakePosition(const char* text, int otherwise) {
  int position = otherwise;
  int given = geterrposition();
  if (given > 0) {
    // Not the position in the command that the client sent. What is said of our parentheses is
    // said of all that is in them.
    errposition(0);
    position = given > kPrefixLength ? given - kPrefixLength : BeginningOf(text);
    position = Min(position, pg_mbstrlen(text) + 1);
  }
  if (position <= 0) return 0;
  internalerrposition(position);
  internalerrquery(text);
  return position;
}

void Report(void* arg) {
  auto* context = static_cast<ExpressionErrorContext*>(arg);
  const ExpressionSource* source = context->source;
  int position = TakePosition(source->text, context->position);
  const char* at = position > 0 ? psprintf(", at character %d", position) : "";
  if (source->column == nullptr) {
    errcontext("row filter of table %s%s: %s", source->table, at, CutText(source->text));
  } else {
    errcontext("expression of column %s of table %s%s: %s", quote_identifier(source->column),
               source->table, at, CutText(source->text));
  }
}

[[noreturn]] void RefuseText(const char* problem) {
  ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("%s", problem)));
  pg_unreachable();
}

bool IsBlank(const char* text) {
  for (; *text != '\0'; ++text) {
    if (!scanner_isspace(*text)) return false;
  }
  return true;
}

// One expression and nothing else: what would end the wrapper's parenthesis, begin another
// statement or add a clause makes something else than a plain SELECT with one unnamed target.
Node* ParseAlone(const char* wrapped) {
  List* statements = ParseRaw(wrapped);
  if (list_length(statements) != 1) RefuseText("an expression is expected, not statements");
  auto* statement = reinterpret_cast<SelectStmt*>(linitial_node(RawStmt, statements)->stmt);
  if (!IsA(statement, SelectStmt) || statement->op != SETOP_NONE ||
      list_length(statement->targetList) != 1 || statement->distinctClause != NIL ||
      statement->intoClause != nullptr || statement->fromClause != NIL ||
      statement->whereClause != nullptr || statement->groupClause != NIL ||
      statement->havingClause != nullptr || statement->windowClause != NIL ||
      statement->valuesLists != NIL || statement->sortClause != NIL ||
      statement->limitOffset != nullptr || statement->limitCount != nullptr ||
      statement->lockingClause != NIL || statement->withClause != nullptr) {
    RefuseText("an expression is expected, not a statement");
  }
  auto* target = linitial_node(ResTarget, statement->targetList);
  if (target->name != nullptr || target->indirection != NIL) {
    RefuseText("an expression is expected, without a name for it");
  }
  return target->val;
}

struct Parsed {
  ParseState* pstate;
  Node* raw;
};

Parsed Parse(const ExpressionSource& source) {
  if (IsBlank(source.text)) RefuseText("the expression is empty");
  const char* wrapped = psprintf("%s%s%s", kPrefix, source.text, kSuffix);
  Parsed parsed{make_parsestate(nullptr), ParseAlone(wrapped)};
  parsed.pstate->p_sourcetext = wrapped;
  CheckSyntaxIsSafe(parsed.pstate, parsed.raw);
  return parsed;
}

// The row that names are looked up in, and which of its columns are read.
struct Columns {
  TupleDesc descriptor;
  int* positions;  // of their first mention, from 1; 0: not read
};

Node* ResolveColumn(ParseState* pstate, ColumnRef* reference) {
  auto* columns = static_cast<Columns*>(pstate->p_ref_hook_state);
  const char* name = strVal(linitial(reference->fields));
  for (int i = 0; i < columns->descriptor->natts; ++i) {
    Form_pg_attribute attribute = TupleDescAttr(columns->descriptor, i);
    if (attribute->attisdropped || strcmp(NameStr(attribute->attname), name) != 0) continue;
    constexpr char kVirtual = 'v';
    if (attribute->attgenerated == kVirtual) {
      ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                      errmsg("column \"%s\" is a virtual generated column, which the WAL does not "
                             "carry",
                             name),
                      parser_errposition(pstate, reference->location)));
    }
    if (!IsReadableType(attribute->atttypid)) {
      ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                      errmsg("column \"%s\" is of type %s, which is not allowed in a table rule",
                             name, format_type_be(attribute->atttypid)),
                      errhint("Allowed are built-in types of plain values, enums, and domains "
                              "over them."),
                      parser_errposition(pstate, reference->location)));
    }
    if (columns->positions[i] == 0) {
      int before = pg_mbstrlen_with_len(pstate->p_sourcetext, Max(reference->location, 0));
      columns->positions[i] = Max(before - kPrefixLength, 0) + 1;
    }
    Var* var = makeVar(1, static_cast<AttrNumber>(i + 1), attribute->atttypid, attribute->atttypmod,
                       attribute->attcollation, 0);
    var->location = reference->location;
    // A value of a domain would make others of the domain: reading '1' as one runs its constraints.
    int32 typmod = attribute->atttypmod;
    Oid base = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
    if (base == attribute->atttypid) return reinterpret_cast<Node*>(var);
    RelabelType* relabel = makeRelabelType(reinterpret_cast<Expr*>(var), base, typmod,
                                           attribute->attcollation, COERCE_IMPLICIT_CAST);
    relabel->location = reference->location;
    return reinterpret_cast<Node*>(relabel);
  }
  ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("column \"%s\" does not exist", name),
                  errhint("Names are those that the table had at the time of the change."),
                  parser_errposition(pstate, reference->location)));
  pg_unreachable();
}

Node* ConvertToColumn(ParseState* pstate, Node* node, const ResultType& result) {
  // A domain's constraints are users' expressions, and the destination's to check.
  int32 typmod = result.typmod;
  Oid type = getBaseTypeAndTypmod(result.type, &typmod);
  Oid given = exprType(node);
  if (!IsReadableType(type)) {
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("the column is of type %s, for which a table rule can have no "
                           "expression",
                           format_type_be(result.type)),
                    parser_errposition(pstate, exprLocation(node))));
  }
  Node* converted = coerce_to_target_type(pstate, node, given, type, typmod, COERCION_ASSIGNMENT,
                                          COERCE_IMPLICIT_CAST, -1);
  if (converted == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                    errmsg("the column is of type %s but the expression is of type %s",
                           format_type_be(result.type), format_type_be(given)),
                    errhint("You will need to cast the expression."),
                    parser_errposition(pstate, exprLocation(node))));
  }
  return converted;
}

Node* Convert(ParseState* pstate, Node* node, const ResultType& result) {
  switch (result.kind) {
    case ResultKind::kBoolean:
      return coerce_to_boolean(pstate, node, "the row filter");
    case ResultKind::kColumn:
      return ConvertToColumn(pstate, node, result);
    default:
      if (exprType(node) != UNKNOWNOID) return node;
      return coerce_to_target_type(pstate, node, UNKNOWNOID, TEXTOID, -1, COERCION_IMPLICIT,
                                   COERCE_IMPLICIT_CAST, -1);
  }
}

}  // namespace

void PushExpressionContext(ExpressionErrorContext* context, const ExpressionSource* source,
                           int position) {
  context->source = source;
  context->position = position;
  context->callback = {error_context_stack, Report, context};
  error_context_stack = &context->callback;
}

void PopExpressionContext(ExpressionErrorContext* context) {
  error_context_stack = context->callback.previous;
}

void CheckExpressionSyntax(const ExpressionSource& source) {
  ExpressionErrorContext context;
  PushExpressionContext(&context, &source, BeginningOf(source.text));
  Parsed parsed = Parse(source);
  free_parsestate(parsed.pstate);
  PopExpressionContext(&context);
}

Expression BindExpression(const ExpressionSource& source, TupleDesc descriptor, ResultType result,
                          MemoryContext context) {
  ExpressionErrorContext error_context;
  PushExpressionContext(&error_context, &source, BeginningOf(source.text));
  auto attribute_count = static_cast<size_t>(Max(descriptor->natts, 1));
  Columns columns{descriptor, static_cast<int*>(palloc0(attribute_count * sizeof(int)))};
  Parsed parsed = Parse(source);
  ParseState* pstate = parsed.pstate;
  CheckNamesAreSafe(pstate, parsed.raw);
  pstate->p_pre_columnref_hook = ResolveColumn;
  pstate->p_ref_hook_state = &columns;
  ParseExprKind kind =
      result.kind == ResultKind::kBoolean ? EXPR_KIND_WHERE : EXPR_KIND_GENERATED_COLUMN;
  // The parser and the planner write into what they are given.
  auto* raw = static_cast<Node*>(copyObjectImpl(parsed.raw));
  Node* node = Convert(pstate, transformExpr(pstate, parsed.raw, kind), result);
  assign_expr_collations(pstate, node);
  CheckExpressionIsSafe(pstate, node, raw, ExpressionStage::kParsed);
  node = InlineSqlFunctions(node);
  CheckExpressionIsSafe(pstate, node, raw, ExpressionStage::kInlined);
  auto* planned = reinterpret_cast<Node*>(expression_planner(reinterpret_cast<Expr*>(node)));
  CheckExpressionIsSafe(pstate, planned, raw, ExpressionStage::kPlanned);
  free_parsestate(pstate);

  MemoryContext caller = MemoryContextSwitchTo(context);
  Expression expression = {};
  auto* kept = static_cast<Expr*>(copyObjectImpl(planned));
  expression.state = ExecInitExpr(kept, nullptr);
  expression.type = exprType(planned);
  expression.typmod = exprTypmod(planned);
  expression.collation = exprCollation(planned);
  expression.inputs =
      static_cast<ExpressionInput*>(palloc(attribute_count * sizeof(ExpressionInput)));
  for (int i = 0; i < descriptor->natts; ++i) {
    if (columns.positions[i] > 0) {
      expression.inputs[expression.input_count++] = {i, columns.positions[i]};
    }
  }
  MemoryContextSwitchTo(caller);
  PopExpressionContext(&error_context);
  return expression;
}

}  // namespace towline::plugin
