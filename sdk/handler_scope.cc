#include "sdk/handler_scope.h"

namespace ivmq::internal {
namespace {

thread_local const HandlerScope* innermost = nullptr;

}  // namespace

HandlerScope::HandlerScope(const void* node) : node_(node), outer_(innermost) { innermost = this; }

HandlerScope::~HandlerScope() { innermost = outer_; }

bool HandlerScope::Inside(const void* node) {
  for (const HandlerScope* scope = innermost; scope != nullptr; scope = scope->outer_) {
    if (scope->node_ == node) return true;
  }
  return false;
}

}  // namespace ivmq::internal
