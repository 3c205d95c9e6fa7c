#ifndef IVMQ_BROKER_CONTROL_SERVICE_REGISTRY_H_
#define IVMQ_BROKER_CONTROL_SERVICE_REGISTRY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/control/node_registry.h"
#include "broker/control/realm_state.h"

namespace ivmq::control {

// How clients and servers of services come: each client is linked with each server of its service
// by a pair of links. They go as publishers and subscribers do (NodeRegistry). One thread; state
// and nodes must outlive it.
class ServiceRegistry {
 public:
  ServiceRegistry(RealmState* state, NodeRegistry* nodes) : state_(state), nodes_(nodes) {}

  struct NewEndpoint {
    uint64_t node_id = 0;
    bool serves = false;
    std::string service;
    std::string request_type;
    std::string reply_type;
    uint64_t ring_bytes = 0;               // 0: no wish
    std::string file_descriptor_set = {};  // of a server
  };
  struct Registered {
    uint64_t endpoint_id = 0;
    uint32_t others = 0;  // that it is linked with
  };
  // Registers, links with all there are that it fits, and tells both sides of each link; those it
  // does not fit are told (LinkRefused), and so is the newcomer. Or changes nothing:
  // INVALID_ARGUMENT, RESOURCE_EXHAUSTED, or FAILED_PRECONDITION where it fits none of those there.
  // REQUIRES: the node is online.
  absl::StatusOr<Registered> Register(NewEndpoint wish);

 private:
  struct Misfit {
    uint64_t endpoint_id = 0;
    absl::Status why;
  };
  std::vector<uint64_t> Sort(const Endpoint& newcomer, std::vector<Misfit>* misfits) const;
  void TellMisfits(const Endpoint& newcomer, const std::vector<Misfit>& misfits);
  absl::StatusOr<std::vector<LinkTable::Pair>> CreatePairs(const Endpoint& newcomer,
                                                           const std::vector<uint64_t>& others);

  RealmState* const state_;
  NodeRegistry* const nodes_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_SERVICE_REGISTRY_H_
