#include "sdk/threads/handler_scope.h"

#include <exception>

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

std::string CaughtText() {
  try {
    throw;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return text.empty() ? "an exception without a text" : text;
  } catch (...) {
    return "an exception of an unknown type";
  }
}

}  // namespace ivmq::internal
