#ifndef IVMQ_BROKER_CONTROL_STREAM_CALL_H_
#define IVMQ_BROKER_CONTROL_STREAM_CALL_H_

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <utility>

#include "broker/control/completion_thread.h"

namespace ivmq::control {

// The sending half of a streaming call: a bounded queue before gRPC's one write at a time, one
// Finish() at its end, and word of the caller's going away. `Stream` is ServerAsyncWriter or
// ServerAsyncReaderWriter of `Message`. Lives as long as an operation of it is under way, or
// someone else holds it. One thread, the loop's.
template <class Stream, class Message>
class StreamCall : public std::enable_shared_from_this<StreamCall<Stream, Message>> {
 public:
  // `token`: CompletionThread::token().
  StreamCall(size_t max_queued_bytes, std::shared_ptr<void> token)
      : stream_(&context_), max_queued_bytes_(max_queued_bytes), token_(std::move(token)) {}
  virtual ~StreamCall() = default;
  StreamCall(const StreamCall&) = delete;
  StreamCall& operator=(const StreamCall&) = delete;

  // False if the queue is full; the message is dropped then. What comes after a finish is dropped
  // in silence.
  bool Push(const Message& message) {
    if (finishing_) return true;
    const size_t bytes = message.ByteSizeLong();
    if (queued_bytes_ + bytes > max_queued_bytes_) return false;
    queued_bytes_ += bytes;
    queue_.push_back(message);
    if (!writing_) WriteNext();
    return true;
  }

  // Ends the call, once: after what is queued, or dropping it.
  void FinishCall(const grpc::Status& status, bool drop_queue) {
    if (std::exchange(finishing_, true)) return;
    status_ = status;
    if (drop_queue) DropQueue();
    if (!writing_) SendFinish();
  }
  bool finishing() const { return finishing_; }
  // What waits, with what gRPC is writing.
  size_t queued_bytes() const { return queued_bytes_; }

 protected:
  // The call is over, in whatever way: nothing can be sent any more.
  virtual void OnOver() = 0;
  // A message was written, or will never be: less is queued.
  virtual void OnWritten() {}
  // Drops all that waits, also what the other side keeps gRPC from writing: the call ends at once,
  // without a status.
  void Cancel() {
    DropQueue();
    context_.TryCancel();
  }

  // To be called before the call is requested. The tag comes only for a call that began.
  void WatchForEnd() {
    end_tag_ =
        CompletionThread::NewTag([this, self = this->shared_from_this()](bool) { OnOver(); });
    context_.AsyncNotifyWhenDone(end_tag_);
  }
  // The request never became a call.
  void ForgetEnd() { CompletionThread::DropTag(std::exchange(end_tag_, nullptr)); }

  // A tag that keeps this alive until `then` was called.
  template <class Then>
  void* Tag(Then then) {
    return CompletionThread::NewTag(
        [self = this->shared_from_this(), then = std::move(then)](bool ok) { then(ok); });
  }

  grpc::ServerContext context_;
  Stream stream_;

 private:
  void WriteNext() {
    writing_ = true;
    const Message message = std::move(queue_.front());
    queue_.pop_front();
    writing_bytes_ = message.ByteSizeLong();
    // gRPC takes the bytes at once.
    stream_.Write(message, Tag([this](bool ok) { WriteIsDone(ok); }));
  }
  void WriteIsDone(bool ok) {
    writing_ = false;
    queued_bytes_ -= std::exchange(writing_bytes_, 0);
    if (!ok) DropQueue();
    if (!queue_.empty()) {
      WriteNext();
    } else if (finishing_) {
      SendFinish();
    }
    OnWritten();
  }
  void SendFinish() {
    stream_.Finish(status_, Tag([](bool) {}));
  }
  void DropQueue() {
    queue_.clear();
    queued_bytes_ = writing_bytes_;
  }

  const size_t max_queued_bytes_;
  const std::shared_ptr<void> token_;
  std::deque<Message> queue_;
  size_t queued_bytes_ = 0;
  size_t writing_bytes_ = 0;
  bool writing_ = false;
  bool finishing_ = false;
  grpc::Status status_;
  void* end_tag_ = nullptr;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_STREAM_CALL_H_
