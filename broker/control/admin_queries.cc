#include "broker/control/admin_queries.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "broker/control/describe.h"
#include "broker/control/link_lifecycle.h"
#include "broker/control/topic_name.h"
#include "broker/control/version.h"

namespace ivmq::control {
namespace {

v1::Realm DescribeRealm(const Realm& realm) {
  const RealmState& state = realm.state;
  const Arena& arena = state.ledger.arena();
  v1::Realm out;
  out.set_name(state.name);
  out.set_region_bytes(state.info.region_bytes);
  out.set_vectors(state.info.vectors);
  out.set_uuid(UuidText(state.info.uuid));
  out.set_generation(state.info.generation);
  out.set_arena_bytes(arena.total_bytes());
  out.set_arena_used_bytes(arena.used_bytes());
  out.set_arena_orphaned_bytes(arena.orphaned_bytes());
  out.set_peer_slots(state.info.peer_slots);
  out.set_peers_connected(static_cast<uint32_t>(state.peers.size() - 1));  // without the host
  out.set_refused_ids_exhausted(realm.refused_ids_exhausted);
  out.set_refused_too_many_peers(realm.refused_too_many_peers);
  out.set_refused_table_of_evicted(realm.refused_table_of_evicted);
  out.set_refused_out_of_fds(realm.refused_out_of_fds);
  out.set_last_peer_id(realm.last_peer_id);
  return out;
}

void AddLinks(const RealmState& state, const std::string& topic, v1::ListLinksResponse* response) {
  for (const auto& [id, link] : state.directory.links()) {
    if (!topic.empty() && link.topic != topic) continue;
    v1::Link* out = response->add_links();
    *out = DescribeLink(link, state.name);
    v1::LinkCounters* counters = out->mutable_counters();
    *counters = link.counters;
    const RingReading ring = state.LookAt(link).ring;
    if (!ring.sound()) continue;
    counters->set_ring_used_bytes(ring.used_bytes);
    // Of a side that does not answer the ring itself knows more than its last word.
    if (!counters->publisher_answered()) {
      counters->set_published(std::max(counters->published(), ring.published_least));
    }
    // A subscriber knows when it was last asked and had read more; whoever looks at the ring all
    // the time also when nothing was left to read. Where the ring says all that it has read, that
    // counts.
    const bool ring_says = counters->delivered() <= ring.read;
    if (IsActive(link.progress.subscriber) && (!counters->subscriber_answered() || ring_says)) {
      const auto age = std::chrono::floor<std::chrono::milliseconds>(Clock::now() - link.read_at);
      counters->set_read_age_ms(static_cast<uint64_t>(age.count()));
    }
    if (!counters->subscriber_answered()) {
      counters->set_delivered(std::max(counters->delivered(), ring.read));
    }
  }
  for (const Refusals::Record& record : state.refusals.records()) {
    if (topic.empty() || record.link.topic() == topic) *response->add_links() = record.link;
  }
}

// Asks all nodes of these realms for their counters, then calls `done`.
void SurveyAll(const std::vector<Realm*>& realms, const std::string& topic,
               std::function<void()> done) {
  // One more than there are surveys, so that `done` cannot come before all were started.
  auto left = std::make_shared<size_t>(realms.size() + 1);
  const auto finish = [left, done = std::move(done)] {
    if (--*left == 0) done();
  };
  for (Realm* realm : realms) realm->survey.Start(topic, finish);
  finish();
}

using Looks = std::map<uint64_t, LinkLook>;  // by link

void TakeLooks(const RealmState& state, const std::string& topic, Looks* looks) {
  for (const auto& [id, link] : state.directory.links()) {
    if (topic.empty() || link.topic == topic) looks->emplace(id, state.LookAt(link));
  }
}

void AddAudits(const RealmState& state, const std::string& topic, const Looks& first,
               v1::AuditResponse* response) {
  for (const v1::LinkAudit& audit : state.ended.audits()) {
    if (topic.empty() || audit.link().topic() == topic) *response->add_links() = audit;
  }
  for (const auto& [id, link] : state.directory.links()) {
    const auto before = first.find(id);
    if (before == first.end()) continue;  // it came in between, or is of another topic
    *response->add_links() = AuditOf(link, state.name, before->second, state.LookAt(link));
  }
}

}  // namespace

absl::StatusOr<std::vector<Realm*>> AdminQueries::Select(const std::string& name) const {
  std::vector<Realm*> selected;
  std::string names;
  for (const auto& [index, realm] : *realms_) {
    if (name.empty() || realm->state.name == name) selected.push_back(realm.get());
    names += (names.empty() ? "" : ", ") + realm->state.name;
  }
  if (selected.empty() && !name.empty()) {
    return absl::NotFoundError(
        fmt::format("there is no realm {}; there are: {}", Quoted(name), names));
  }
  return selected;
}

void AdminQueries::ListRealms(v1::ListRealmsResponse* response) const {
  for (const auto& [index, realm] : *realms_) *response->add_realms() = DescribeRealm(*realm);
  response->set_daemon_version(kDaemonVersion);
}

absl::Status AdminQueries::ListPeers(const std::string& name,
                                     v1::ListPeersResponse* response) const {
  const auto realms = Select(name);
  if (!realms.ok()) return realms.status();
  for (const Realm* realm : *realms) {
    const RealmState& state = realm->state;
    for (const PeerBook* book : {&state.peers, &state.put_out}) {
      for (const auto& [id, peer] : *book) {
        *response->add_peers() = DescribePeer(peer, state.directory, state.name);
      }
    }
    *response->add_realms() = DescribeRealm(*realm);
  }
  return absl::OkStatus();
}

absl::Status AdminQueries::ListNodes(const std::string& name,
                                     v1::ListNodesResponse* response) const {
  const auto realms = Select(name);
  if (!realms.ok()) return realms.status();
  for (const Realm* realm : *realms) {
    for (const auto& [id, node] : realm->state.directory.nodes()) {
      *response->add_nodes() = DescribeNode(node, realm->state.directory, realm->state.name);
    }
  }
  return absl::OkStatus();
}

absl::Status AdminQueries::ListTopics(const std::string& name,
                                      v1::ListTopicsResponse* response) const {
  const auto realms = Select(name);
  if (!realms.ok()) return realms.status();
  for (const Realm* realm : *realms) {
    const Directory& directory = realm->state.directory;
    for (const auto& [topic_name, topic] : directory.topics()) {
      *response->add_topics() = DescribeTopic(topic_name, topic, directory, realm->state.name);
    }
    for (const auto& [service_name, service] : directory.services()) {
      *response->add_services() =
          DescribeService(service_name, service, directory, realm->state.name);
    }
  }
  return absl::OkStatus();
}

void AdminQueries::ListLinks(const v1::ListLinksRequest& request, v1::ListLinksResponse* response,
                             std::function<void(absl::Status)> done) const {
  const auto realms = Select(request.realm());
  if (!realms.ok()) return done(realms.status());
  SurveyAll(*realms, request.topic(),
            [realms = *realms, topic = request.topic(), response, done = std::move(done)] {
              for (const Realm* realm : realms) AddLinks(realm->state, topic, response);
              done(absl::OkStatus());
            });
}

void AdminQueries::Audit(const v1::AuditRequest& request, v1::AuditResponse* response,
                         std::function<void(absl::Status)> done) const {
  const auto selected = Select(request.realm());
  if (!selected.ok()) return done(selected.status());
  const std::vector<Realm*>& realms = *selected;
  const std::string& topic = request.topic();
  auto looks = std::make_shared<Looks>();
  SurveyAll(realms, topic, [=, done = std::move(done)] {
    for (const Realm* realm : realms) TakeLooks(realm->state, topic, looks.get());
    SurveyAll(realms, topic, [=] {
      for (const Realm* realm : realms) AddAudits(realm->state, topic, *looks, response);
      done(absl::OkStatus());
    });
  });
}

}  // namespace ivmq::control
