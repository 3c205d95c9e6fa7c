#ifndef IVMQ_SDK_THREADS_HANDLER_SCOPE_H_
#define IVMQ_SDK_THREADS_HANDLER_SCOPE_H_

#include <string>

namespace ivmq::internal {

// Marks that this thread runs a handler of a node (Poll's, WatchDiscovery's, that of events) or a
// callback: nothing of that node may wait there, because what it would wait for may need this very
// thread, or wait for it in turn. Scopes nest.
class HandlerScope {
 public:
  explicit HandlerScope(const void* node);
  ~HandlerScope();
  HandlerScope(const HandlerScope&) = delete;
  HandlerScope& operator=(const HandlerScope&) = delete;

  // Whether the calling thread is inside a handler of that node.
  static bool Inside(const void* node);

 private:
  const void* const node_;
  const HandlerScope* const outer_;
};

// REQUIRES: called in a catch block. What was caught, for people; never empty.
std::string CaughtText();

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_THREADS_HANDLER_SCOPE_H_
