#ifndef IVMQ_BROKER_CONTROL_DIRECTORY_H_
#define IVMQ_BROKER_CONTROL_DIRECTORY_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/control/agreement.h"
#include "broker/control/link_lifecycle.h"
#include "broker/control/ready_bytes.h"
#include "broker/control/topic_trie.h"
#include "ivmq/v1/discovery.pb.h"

namespace ivmq::control {

using Clock = std::chrono::steady_clock;

class EventSink;

// A process that said hello.
struct Node {
  uint64_t id = 0;  // also its name as a holder of memory
  std::string name;
  std::string sdk_version;
  uint32_t peer_id = 0;
  int32_t pid = 0;
  uint32_t uid = 0;
  uint64_t agent_nonce = 0;    // of the agent that vouched for the process; 0 on the host
  uint64_t connection_id = 0;  // of the process
  uint32_t vector = 0;
  bool polls = false;
  uint64_t wake_offset = 0;
  Clock::time_point since;
  bool online = true;         // false: DETACHED
  EventSink* sink = nullptr;  // of its session; null when it has none
  std::set<uint64_t> endpoints;
  std::set<uint64_t> links;
};

// A publisher or a subscriber of a topic, or a client or a server of a service. A client counts as
// the publisher: of requests.
struct Endpoint {
  uint64_t id = 0;
  uint64_t node_id = 0;
  bool publishes = false;
  bool is_filter = false;  // `topic` has wildcards
  std::string topic;       // or service
  std::string type_name;   // of a service: of its requests
  bool of_service = false;
  std::string reply_type;  // of a service
  v1::Qos qos;             // valid; of a service only ring_bytes
  std::set<uint64_t> links;
};

// Those who registered with one text: a topic, or a filter, which has no publishers.
struct Topic {
  std::set<uint64_t> publishers;
  std::set<uint64_t> subscribers;
  std::set<std::pair<bool, uint64_t>> typed;  // those that name a type; true: a subscriber
  // Of links whose two endpoints are registered.
  uint32_t links = 0;
  std::map<uint64_t, uint32_t> by_filter;  // those at their other ends with another text: how often
};

struct Service {
  std::set<uint64_t> clients;
  std::set<uint64_t> servers;
  uint32_t links = 0;  // whose two endpoints are registered
};

struct LinkSide {
  uint64_t endpoint_id = 0;
  uint64_t node_id = 0;
  std::string node_name;  // copies: a link can outlive its nodes
  uint32_t peer_id = 0;
  uint64_t wake_offset = 0;
  SideEvent left = SideEvent::kAttached;  // how it let go of the link, once it has
  bool counted = false;                   // it has told its last counters
};

struct Link {
  uint64_t id = 0;
  std::string topic;  // or service
  v1::Link::Kind kind = v1::Link::TOPIC;
  std::string type_name;  // of what is published on it
  uint64_t pair_id = 0;   // of requests the link of their replies, and the other way round
  LinkSide publisher;
  LinkSide subscriber;
  Agreement agreed;
  uint64_t ring_offset = 0;  // of a ring, or of slots
  ReadyPlace consumer_ready;
  ReadyPlace producer_ready;
  LinkProgress progress;
  std::string detail;  // what the side said that found nonsense
  v1::LinkCounters counters;
  bool was_asked = false;  // for its counters, or a side has told its last ones
  uint64_t read = 0;       // records that the subscriber has read, as its ring said last
  Clock::time_point read_at = Clock::now();  // when that had moved, or all had been read

  const LinkSide& side(bool publisher_side) const {
    return publisher_side ? publisher : subscriber;
  }
};

// What exists in a realm: nodes, endpoints, topics, services and links, each found by its ID or
// name, and each topic, filter and service knowing its own. Only books: it tells nobody and owns no
// memory of the region. One thread. Pointers stay valid until the thing they point to is removed.
class Directory {
 public:
  Node* AddNode(Node node);
  Node* FindNode(uint64_t id);
  // REQUIRES: it has no endpoints.
  void RemoveNode(uint64_t id);

  Endpoint* AddEndpoint(Endpoint endpoint);
  Endpoint* FindEndpoint(uint64_t id);
  // Links stay, they only lose their endpoint. A topic or service without endpoints is gone.
  void RemoveEndpoint(uint64_t id);

  Link* AddLink(Link link);
  Link* FindLink(uint64_t id);
  void RemoveLink(uint64_t id);

  // The subscribers whose topic or filter a publisher meets, or the publishers that a subscriber
  // meets, by ID. The endpoint need not be registered.
  std::vector<uint64_t> FindMatches(const Endpoint& endpoint) const;

  // What an endpoint takes of control's memory: an estimate, as if it were the only one of its
  // name.
  static uint64_t BookBytesOf(const Endpoint& endpoint);
  // The same of all endpoints of a machine.
  uint64_t BookBytesOfPeer(uint32_t peer_id) const;

  const Topic* FindTopic(std::string_view name) const;
  struct Extent {
    uint32_t publishers = 0;   // of the topic, or linked with subscribers by the filter
    uint32_t subscribers = 0;  // the same the other way round
    uint32_t links = 0;        // those whose two endpoints are still registered
  };
  static Extent ExtentOf(const Topic& topic);
  const Service* FindService(std::string_view name) const;
  // The protobuf type of a topic: that of its first publisher or subscriber that names one.
  std::string TypeOf(const Topic& topic) const;

  const std::map<uint64_t, Node>& nodes() const { return nodes_; }
  const std::map<uint64_t, Endpoint>& endpoints() const { return endpoints_; }
  const std::map<uint64_t, Link>& links() const { return links_; }
  const std::map<std::string, Topic, std::less<>>& topics() const { return topics_; }
  const std::map<std::string, Service, std::less<>>& services() const { return services_; }

 private:
  std::set<uint64_t>& PlaceOf(const Endpoint& endpoint);
  void DropIfEmpty(const Endpoint& endpoint);
  void CountBytes(const Endpoint& endpoint, bool begins);
  // The link begins, or ends, to have two registered endpoints; nothing where it has not.
  void Count(const Link& link, bool begins);

  std::map<uint64_t, Node> nodes_;
  std::map<uint64_t, Endpoint> endpoints_;
  std::map<uint64_t, Link> links_;
  std::map<std::string, Topic, std::less<>> topics_;
  std::map<std::string, Service, std::less<>> services_;
  TopicTrie publishers_;
  TopicTrie subscribers_;
  std::map<uint32_t, uint64_t> book_bytes_;  // by peer; none are left out
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_DIRECTORY_H_
