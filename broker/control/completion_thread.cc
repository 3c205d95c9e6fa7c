#include "broker/control/completion_thread.h"

#include <utility>

namespace ivmq::control {

CompletionThread::CompletionThread(TaskQueue* tasks,
                                   std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : tasks_(tasks), queue_(std::move(queue)), thread_([this] { Run(); }) {}

CompletionThread::~CompletionThread() {
  queue_->Shutdown();
  thread_.join();
}

void CompletionThread::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    std::shared_ptr<Completion> completion(static_cast<Completion*>(tag));
    tasks_->Post([completion = std::move(completion), ok] { (*completion)(ok); });
  }
}

}  // namespace ivmq::control
