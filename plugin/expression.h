// SQL expressions of table rules: parsed and bound by the server's own parser, evaluated by its
// executor, and only where that is safe in the middle of decoding. docs/plugin.md, "What an
// expression may hold", is the rule; expression_safety.h holds every expression to it, before
// anything of it is evaluated and again as it will be evaluated.
#pragma once

#include "pg_compat.h"

namespace towline::plugin {

// A text and where it stands, for error messages.
struct ExpressionSource {
  const char* table;   // quoted
  const char* column;  // whose expression it is; null: the row filter
  const char* text;
};

// What errors, while it is pushed, say of the expression: its source, and the character counted in
// the text as the user wrote it. The executor does not say where in an expression it is: an error
// of a row has a position only where we raise it.
struct ExpressionErrorContext {
  ErrorContextCallback callback;
  const ExpressionSource* source;
  int position;  // of errors that have none of their own, from 1; 0: not known
};
void PushExpressionContext(ExpressionErrorContext* context, const ExpressionSource* source,
                           int position = 0);
void PopExpressionContext(ExpressionErrorContext* context);

// Everything that can be told without a catalog: syntax, and what is never allowed.
void CheckExpressionSyntax(const ExpressionSource& source);

// What the result is made to be.
enum class ResultKind {
  kBoolean,  // a row filter
  kColumn,   // a column of a table: converted as INSERT would
  kOwn,      // what it is; text for a bare literal
};
struct ResultType {
  ResultKind kind;
  Oid type;  // of the column
  int32 typmod;
};

// A column that an expression reads.
struct ExpressionInput {
  int index;     // in the tuple descriptor
  int position;  // of the first character of its first mention, from 1
};

struct Expression {
  ExprState* state;
  Oid type;
  int32 typmod;
  Oid collation;
  int input_count;
  ExpressionInput* inputs;  // by index
};

// Binds names to the columns of a row. The result belongs to `context`; the current memory context
// is for scratch. Reads the catalogs under the snapshot in force.
Expression BindExpression(const ExpressionSource& source, TupleDesc columns, ResultType result,
                          MemoryContext context);

}  // namespace towline::plugin
