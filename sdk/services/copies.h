// The copies of a client or a server that applications hold.
#ifndef IVMQ_SDK_SERVICES_COPIES_H_
#define IVMQ_SDK_SERVICES_COPIES_H_

#include <memory>
#include <utility>

namespace ivmq::internal {

// Ownership whose last copy closes the endpoint, also while a thread of ours holds it for a turn:
// whoever lets the last copy go may next destroy what the handlers use.
template <class Impl>
std::shared_ptr<Impl> ClosedWithLastCopy(std::shared_ptr<Impl> impl) {
  struct Copies {
    explicit Copies(std::shared_ptr<Impl> of) : impl(std::move(of)) {}
    Copies(const Copies&) = delete;
    Copies& operator=(const Copies&) = delete;
    ~Copies() { impl->Close(); }
    const std::shared_ptr<Impl> impl;
  };
  Impl* const endpoint = impl.get();
  return {std::make_shared<const Copies>(std::move(impl)), endpoint};
}

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_SERVICES_COPIES_H_
