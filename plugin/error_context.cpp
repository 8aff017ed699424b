#include "error_context.h"

namespace towline::plugin {
namespace {

void Report(void* arg) {
  auto* context = static_cast<const ChangeErrorContext*>(arg);
  if (context->relation_name == nullptr) {
    errcontext("%s in transaction %u", context->operation, context->xid);
  } else if (context->column_name == nullptr) {
    errcontext("%s on relation %s in transaction %u", context->operation, context->relation_name,
               context->xid);
  } else {
    errcontext("%s on relation %s, column %s, in transaction %u", context->operation,
               context->relation_name, quote_identifier(context->column_name), context->xid);
  }
}

constexpr int kShownBytesMax = 1000;

}  // namespace

const char* CutText(const char* text) {
  size_t size = strnlen(text, kShownBytesMax + MAX_MULTIBYTE_CHAR_LEN);
  if (size <= kShownBytesMax) return text;
  return psprintf("%.*s…", pg_mbcliplen(text, static_cast<int>(size), kShownBytesMax), text);
}

void PushErrorContext(ChangeErrorContext* context, const char* operation, TransactionId xid) {
  *context = {};
  context->operation = operation;
  context->xid = xid;
  context->callback.callback = Report;
  context->callback.arg = context;
  context->callback.previous = error_context_stack;
  error_context_stack = &context->callback;
}

void PopErrorContext(ChangeErrorContext* context) {
  error_context_stack = context->callback.previous;
}

}  // namespace towline::plugin
