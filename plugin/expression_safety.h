// Which expressions may be evaluated while decoding. Only the server's own code: functions,
// operators and types that it was built with, that are immutable and so depend on nothing but
// their arguments. No catalog that a user fills, no function that a user wrote, is reached.
#pragma once

#include "pg_compat.h"

namespace towline::plugin {

// Refuses by the syntax alone: subqueries, parameters, names outside of pg_catalog and the like.
void CheckSyntaxIsSafe(ParseState* pstate, Node* raw);

// Refuses before names are resolved: a constant of a type is read by that type's input function
// already while its name is, and so may an argument of a function.
void CheckNamesAreSafe(ParseState* pstate, Node* raw);

// Whether an expression may read a column of this type: built in, an enum, or a domain over one.
bool IsReadableType(Oid type);

// Whether a text that is read as a value of this type may mean the moment at which it is read
// ('now', 'today'). Of a domain ask for what it is over.
bool MayMeanNow(Oid type);

// Whether a text of the expression may mean that.
bool HoldsClockWord(Node* raw);

// Refuses what is not safe in an expression whose names are resolved. kParsed may hold functions in
// the language SQL; kInlined is what planning may evaluate, kPlanned what is evaluated for rows.
// `raw` is what the expression was made from.
enum class ExpressionStage { kParsed, kInlined, kPlanned };
void CheckExpressionIsSafe(ParseState* pstate, Node* expression, Node* raw, ExpressionStage stage);

}  // namespace towline::plugin
