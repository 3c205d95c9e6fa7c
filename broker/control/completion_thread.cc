#include "broker/control/completion_thread.h"

#include <utility>

namespace ivmq::control {

CompletionThread::CompletionThread(transport::EventLoop* loop,
                                   std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : loop_(loop), queue_(std::move(queue)), thread_([this] { Run(); }) {}

CompletionThread::~CompletionThread() {
  queue_->Shutdown();
  thread_.join();
}

void CompletionThread::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    std::shared_ptr<Completion> completion(static_cast<Completion*>(tag));
    loop_->Post([completion = std::move(completion), ok] { (*completion)(ok); });
  }
}

}  // namespace ivmq::control
