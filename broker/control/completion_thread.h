#ifndef IVMQ_BROKER_CONTROL_COMPLETION_THREAD_H_
#define IVMQ_BROKER_CONTROL_COMPLETION_THREAD_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <thread>

#include "transport/event_loop.h"

namespace ivmq::control {

// gRPC's completion queue and the one thread that waits on it. The thread only posts: whatever
// completes is handled on the loop's thread, so no call needs a lock.
//
// gRPC's callback API would be shorter, but its threads wake up several times a second for nothing
// and sleep through up to 100 ms of work (1.51); this one sleeps until there is something.
class CompletionThread {
 public:
  // What an operation's completion calls, once, on the loop's thread.
  using Completion = std::function<void(bool ok)>;

  // `queue` is taken from the server's builder.
  CompletionThread(transport::EventLoop* loop, std::unique_ptr<grpc::ServerCompletionQueue> queue);
  // REQUIRES: the server was shut down, and idle().
  ~CompletionThread();
  CompletionThread(const CompletionThread&) = delete;
  CompletionThread& operator=(const CompletionThread&) = delete;

  grpc::ServerCompletionQueue* queue() const { return queue_.get(); }
  // Held by every call for as long as it may start operations on the queue.
  std::shared_ptr<void> token() const { return token_; }
  // No call holds the token, so nothing is under way and nothing will be.
  bool idle() const { return token_.use_count() == 1; }

  // The tag of one operation; freed when it has completed.
  static void* NewTag(Completion completion) { return new Completion(std::move(completion)); }
  // For a tag that no operation will ever complete.
  static void DropTag(void* tag) { delete static_cast<Completion*>(tag); }

 private:
  void Run();

  transport::EventLoop* const loop_;
  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  const std::shared_ptr<void> token_ = std::make_shared<int>();
  std::thread thread_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_COMPLETION_THREAD_H_
