#ifndef IVMQ_TRANSPORT_MUTEX_H_
#define IVMQ_TRANSPORT_MUTEX_H_

#include <mutex>

// What clang's thread-safety analysis needs to know of a mutex. libstdc++'s own says nothing, and
// Abseil's may not be linked where libivmq is. gcc reads none of it.
#if defined(__clang__)
#define IVMQ_THREAD_ATTRIBUTE(what) __attribute__((what))
#else
#define IVMQ_THREAD_ATTRIBUTE(what)
#endif
#define IVMQ_GUARDED_BY(mutex) IVMQ_THREAD_ATTRIBUTE(guarded_by(mutex))

namespace ivmq::transport {

// A std::mutex that the analysis can follow.
class IVMQ_THREAD_ATTRIBUTE(capability("mutex")) Mutex {
 public:
  void lock() IVMQ_THREAD_ATTRIBUTE(acquire_capability()) { mutex_.lock(); }
  void unlock() IVMQ_THREAD_ATTRIBUTE(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

// Holds a Mutex for as long as it lives.
class IVMQ_THREAD_ATTRIBUTE(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) IVMQ_THREAD_ATTRIBUTE(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_->lock();
  }
  ~MutexLock() IVMQ_THREAD_ATTRIBUTE(release_capability()) { mutex_->unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_MUTEX_H_
