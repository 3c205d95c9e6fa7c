#include "broker/control/service_registry.h"

#include <utility>

#include "broker/control/check.h"
#include "broker/control/matchmaker.h"
#include "broker/control/misfits.h"
#include "broker/control/topic_name.h"

namespace ivmq::control {

absl::StatusOr<ServiceRegistry::Registered> ServiceRegistry::Register(NewEndpoint wish) {
  if (absl::Status status = ValidateService(wish.service); !status.ok()) return status;
  for (const std::string* type : {&wish.request_type, &wish.reply_type}) {
    if (absl::Status status = ValidateTypeName(*type); !status.ok()) return status;
  }
  v1::Qos qos;
  qos.set_ring_bytes(wish.ring_bytes);
  if (absl::Status status = ValidateQos(qos, true); !status.ok()) return status;
  const std::vector<std::string> types = {wish.request_type, wish.reply_type};
  absl::Status described = TypeBook::Validate(wish.file_descriptor_set, types);
  if (!described.ok()) return described;
  Node* node = state_->directory.FindNode(wish.node_id);
  IVMQ_CHECK(node != nullptr && node->online);
  Endpoint newcomer;
  newcomer.node_id = wish.node_id;
  newcomer.of_service = true;
  newcomer.publishes = !wish.serves;
  newcomer.topic = std::move(wish.service);
  newcomer.type_name = std::move(wish.request_type);
  newcomer.reply_type = std::move(wish.reply_type);
  newcomer.qos = std::move(qos);
  if (absl::Status status = nodes_->CheckRoom(*node, newcomer); !status.ok()) return status;

  std::vector<Misfit> misfits;
  const std::vector<uint64_t> others = Sort(newcomer, &misfits);
  if (others.empty() && !misfits.empty()) {
    TellMisfits(newcomer, misfits);
    return misfits.front().why;
  }
  const bool is_new = state_->directory.FindService(newcomer.topic) == nullptr;
  newcomer.id = state_->ids->Next();
  const Endpoint* added = state_->directory.AddEndpoint(std::move(newcomer));
  const absl::StatusOr<std::vector<LinkTable::Pair>> pairs = CreatePairs(*added, others);
  if (!pairs.ok()) {
    state_->directory.RemoveEndpoint(added->id);
    return pairs.status();
  }
  if (wish.serves) state_->types.Add(added->id, types, wish.file_descriptor_set);
  state_->TellService(added->topic,
                      is_new ? v1::DiscoveryEvent::ADDED : v1::DiscoveryEvent::CHANGED);
  for (const LinkTable::Pair& pair : *pairs) {
    nodes_->links()->Announce(pair.request_link);
    nodes_->links()->Announce(pair.reply_link);
  }
  TellMisfits(*added, misfits);
  state_->Tell(v1::DiscoveryEvent::CHANGED, *node);
  return Registered{added->id, static_cast<uint32_t>(pairs->size())};
}

// Those that the newcomer fits; the rest go to `misfits`.
std::vector<uint64_t> ServiceRegistry::Sort(const Endpoint& newcomer,
                                            std::vector<Misfit>* misfits) const {
  std::vector<uint64_t> fitting;
  const Service* service = state_->directory.FindService(newcomer.topic);
  if (service == nullptr) return fitting;
  const Node& node = *state_->directory.FindNode(newcomer.node_id);
  for (const uint64_t id : newcomer.publishes ? service->servers : service->clients) {
    const Endpoint& other = *state_->directory.FindEndpoint(id);
    const Node& other_node = *state_->directory.FindNode(other.node_id);
    const absl::Status fits = newcomer.publishes ? FitsService(newcomer, node, other, other_node)
                                                 : FitsService(other, other_node, newcomer, node);
    if (fits.ok()) {
      fitting.push_back(id);
    } else {
      misfits->push_back({id, fits});
    }
  }
  return fitting;
}

// A newcomer whose registration fails (it has no ID) is told by its failure.
void ServiceRegistry::TellMisfits(const Endpoint& newcomer, const std::vector<Misfit>& misfits) {
  size_t told = 0;
  for (const Misfit& misfit : misfits) {
    const Endpoint& other = *state_->directory.FindEndpoint(misfit.endpoint_id);
    ReportMisfit(state_, newcomer, other, misfit.why);
    if (newcomer.id != 0 && ++told <= kMostToldToNewcomer) {
      TellNewcomer(state_, newcomer, other, misfit.why);
    }
  }
}

absl::StatusOr<std::vector<LinkTable::Pair>> ServiceRegistry::CreatePairs(
    const Endpoint& newcomer, const std::vector<uint64_t>& others) {
  std::vector<LinkTable::Pair> made;
  for (const uint64_t id : others) {
    const Endpoint& other = *state_->directory.FindEndpoint(id);
    const absl::StatusOr<LinkTable::Pair> pair = newcomer.publishes
                                                     ? nodes_->links()->CreatePair(newcomer, other)
                                                     : nodes_->links()->CreatePair(other, newcomer);
    if (!pair.ok()) {
      for (const LinkTable::Pair& each : made) {
        nodes_->links()->Cancel(each.request_link);
        nodes_->links()->Cancel(each.reply_link);
      }
      return pair.status();
    }
    made.push_back(*pair);
  }
  return made;
}

}  // namespace ivmq::control
