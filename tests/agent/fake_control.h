#ifndef IVMQ_TESTS_AGENT_FAKE_CONTROL_H_
#define IVMQ_TESTS_AGENT_FAKE_CONTROL_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/v1/control.pb.h"
#include "tests/transport/link_yard.h"
#include "transport/stream_loop.h"

namespace ivmq::agent {

// As much of control as an agent can see: accepts hellos, serves gRPC over streams, and remembers
// what was said in each Session call. Threads: any, but for `yard`.
class FakeControl {
 public:
  struct Session {
    std::vector<v1::NodeRequest> requests;
    bool half_closed = false;
    bool over = false;
    bool Has(v1::NodeRequest::RequestCase what) const;
  };

  FakeControl();
  ~FakeControl();
  FakeControl(const FakeControl&) = delete;
  FakeControl& operator=(const FakeControl&) = delete;

  // The other end of the realm: a VM's device. Known to control once Announce() was called.
  std::shared_ptr<transport::MemfdDevice> AddVm(uint32_t peer) { return yard.realm.AddPeer(peer); }
  void Announce(uint32_t peer);

  // While false, hellos are heard by nobody.
  void set_accepts(bool accepts) { accepts_ = accepts; }
  // A `watch` is answered by so many events of so many bytes.
  void set_flood(uint32_t events, uint32_t bytes_each);
  // Ends all streams as if control had been restarted.
  void DropStreams();
  uint32_t hellos_accepted() const { return hellos_accepted_; }
  uint64_t heartbeat_of(uint32_t peer);

  // Copies, in the order in which the calls came.
  std::vector<Session> sessions() const;

  transport::LinkYard yard{8 << 20};

 private:
  class Service;
  void Run();
  void Accept(transport::PeerEntry* entry);
  transport::PeerEntry* EntryOf(uint32_t peer);

  transport::YardNode host_;
  std::unique_ptr<transport::StreamLoop> loop_;
  std::unique_ptr<Service> service_;
  std::map<uint32_t, uint64_t> streams_;  // by peer; of the thread, and under mutex_
  std::map<uint32_t, uint32_t> slots_;    // by peer; under mutex_
  std::atomic<bool> accepts_{true};
  std::atomic<uint32_t> hellos_accepted_{0};
  mutable std::mutex mutex_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace ivmq::agent

#endif  // IVMQ_TESTS_AGENT_FAKE_CONTROL_H_
