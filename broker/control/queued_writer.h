#ifndef IVMQ_BROKER_CONTROL_QUEUED_WRITER_H_
#define IVMQ_BROKER_CONTROL_QUEUED_WRITER_H_

#include <grpcpp/grpcpp.h>

#include <deque>
#include <mutex>
#include <utility>

#include "absl/base/thread_annotations.h"

namespace ivmq::control {

// The sending half of a streaming call: a bounded queue before gRPC's one write at a time, and one
// Finish() at its end, whoever asks for it first. `Reactor` is ServerWriteReactor<Message> or
// ServerBidiReactor<..., Message>. No lock is held while gRPC is called: it may call back.
// Push and the two Finish members from any thread.
template <class Reactor, class Message>
class QueuedWriter : public Reactor {
 public:
  explicit QueuedWriter(size_t max_queued_bytes) : max_queued_bytes_(max_queued_bytes) {}

  // False if the queue is full; the message is dropped then. What comes after a finish is dropped
  // in silence.
  bool Push(Message message) {
    const size_t bytes = message.ByteSizeLong();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (finishing_) return true;
      if (queued_bytes_ + bytes > max_queued_bytes_) return false;
      queued_bytes_ += bytes;
      queue_.push_back(std::move(message));
      if (std::exchange(writing_, true)) return true;
    }
    WriteNext();
    return true;
  }

  // Ends the call once all that is queued is written.
  void FinishAfterQueue(grpc::Status status) { StartFinish(std::move(status), false); }
  // Ends the call; what is queued is dropped.
  void FinishNow(grpc::Status status) { StartFinish(std::move(status), true); }

  void OnWriteDone(bool ok) final {
    bool finish = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!ok) DropQueue();  // the call is broken; its OnCancel or read says so, too
      if (queue_.empty()) {
        writing_ = false;
        finish = finishing_;
      }
      if (!writing_ && !finish) return;
    }
    finish ? this->Finish(std::move(status_)) : WriteNext();
  }

 private:
  void WriteNext() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      current_ = std::move(queue_.front());
      queue_.pop_front();
      queued_bytes_ -= current_.ByteSizeLong();
    }
    this->StartWrite(&current_);
  }

  void StartFinish(grpc::Status status, bool drop) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (std::exchange(finishing_, true)) return;
      status_ = std::move(status);
      if (drop) DropQueue();
      if (writing_) return;  // OnWriteDone() goes on
    }
    this->Finish(status_);
  }

  void DropQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    queue_.clear();
    queued_bytes_ = 0;
  }

  const size_t max_queued_bytes_;
  std::mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  Message current_;      // of whoever set writing_
  grpc::Status status_;  // set once, before finishing_ is seen
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_QUEUED_WRITER_H_
