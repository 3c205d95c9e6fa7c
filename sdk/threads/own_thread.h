#ifndef IVMQ_SDK_THREADS_OWN_THREAD_H_
#define IVMQ_SDK_THREADS_OWN_THREAD_H_

#include <functional>
#include <thread>

#include "ivmq/status.h"

namespace ivmq::internal {

// Starts a thread of the library's own: with all signals blocked, because the application's belong
// to the application's threads. `name` is what top and gdb show, at most 15 bytes.
// RESOURCE_EXHAUSTED where the system has none to give.
Status StartOwnThread(const char* name, std::function<void()> run, std::thread* thread);

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_THREADS_OWN_THREAD_H_
