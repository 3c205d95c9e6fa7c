#ifndef IVMQ_BROKER_CONTROL_REALM_H_
#define IVMQ_BROKER_CONTROL_REALM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "broker/control/counter_survey.h"
#include "broker/control/node_registry.h"
#include "broker/control/queue_budget.h"
#include "broker/control/realm_state.h"
#include "broker/control/service_registry.h"
#include "transport/event_loop.h"

namespace ivmq::control {

// One realm: its books and who keeps them. One thread, the loop's.
struct Realm {
  Realm(transport::EventLoop* loop, std::string name, uint32_t index, transport::RegionInfo info,
        std::shared_ptr<transport::MemfdDevice> device, IdSource* ids)
      : state(std::move(name), index, std::move(info), std::move(device), ids),
        registry(&state),
        services(&state, &registry),
        survey(loop, &state) {}

  RealmState state;
  NodeRegistry registry;
  ServiceRegistry services;
  CounterSurvey survey;
  QueueBudget queues;
  uint64_t refused_ids_exhausted = 0;
  uint64_t refused_too_many_peers = 0;
  uint64_t refused_table_of_evicted = 0;
  uint64_t refused_out_of_fds = 0;
  uint32_t last_peer_id = 0;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_REALM_H_
