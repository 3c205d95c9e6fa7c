#include "sdk/command/lists.h"

#include <fmt/core.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>

#include "sdk/command/admin_client.h"
#include "sdk/command/discovery.h"
#include "sdk/command/output.h"
#include "sdk/command/tables.h"

namespace ivmq::command {
namespace {

using transport::Result;
using transport::Status;

int Fail(const Status& status) {
  Complain(status.message());
  return kFailed;
}

// Prints `elements` in a table, or as JSON.
template <class T, class Elements>
void Print(const Elements& elements, bool json) {
  T table;
  for (const auto& element : elements) {
    if (json) {
      PrintLine(ToJsonLine(element));
    } else {
      table.Add(element);
    }
  }
  if (!json) table.Print();
}

// Services only where there are some: most realms have none.
template <class Topics, class Services>
void PrintTopics(const Topics& topics, const Services& services, bool json) {
  Print<TopicTable>(topics, json);
  if (services.empty()) return;
  if (!json) PrintLine("");
  Print<ServiceTable>(services, json);
}

template <class Realms>
void PrintTroubles(const Realms& realms, bool json) {
  for (const v1::Realm& realm : realms) {
    const std::string troubles = RealmTroubles(realm);
    if (troubles.empty()) continue;
    json ? PrintAside(troubles) : PrintLine(troubles);
  }
}

// Asks, then prints what `print` picks from the answer.
template <class Response>
int Show(const Result<Response>& response, const std::function<void(const Response&)>& print) {
  if (!response.ok()) return Fail(response.status());
  print(response.value());
  return kDone;
}

// Those that were asked for.
Result<v1::ListRealmsResponse> RealmsOf(AdminClient* client, const std::string& name) {
  Result<v1::ListRealmsResponse> all = client->ListRealms();
  if (!all.ok() || name.empty()) return all;
  std::string names;
  for (const v1::Realm& realm : all.value().realms()) {
    names += (names.empty() ? "" : ", ") + realm.name();
    if (realm.name() != name) continue;
    v1::ListRealmsResponse one;
    *one.add_realms() = realm;
    return one;
  }
  return Status(transport::Code::kNotFound,
                fmt::format("there is no realm '{}', but {}", name, names));
}

int ListByAdmin(const CommandLine& line) {
  const Result<std::unique_ptr<AdminClient>> admin = AdminClient::Connect(line.admin_socket);
  if (!admin.ok()) return Fail(admin.status());
  AdminClient& client = *admin.value();
  const bool json = line.json;
  switch (line.subcommand) {
    case Subcommand::kRealms:
      return Show<v1::ListRealmsResponse>(RealmsOf(&client, line.realm), [&](const auto& response) {
        Print<RealmTable>(response.realms(), json);
        PrintTroubles(response.realms(), json);
      });
    case Subcommand::kPeers:
      return Show<v1::ListPeersResponse>(client.ListPeers(line.realm), [&](const auto& response) {
        Print<PeerTable>(response.peers(), json);
        PrintTroubles(response.realms(), json);
      });
    case Subcommand::kNodes:
      return Show<v1::ListNodesResponse>(client.ListNodes(line.realm), [&](const auto& response) {
        Print<NodeTable>(response.nodes(), json);
      });
    case Subcommand::kTopics:
      return Show<v1::ListTopicsResponse>(client.ListTopics(line.realm), [&](const auto& response) {
        PrintTopics(response.topics(), response.services(), json);
      });
    default:
      return Show<v1::ListLinksResponse>(
          client.ListLinks(line.realm, line.topic),
          [&](const auto& response) { Print<LinkTable>(response.links(), json); });
  }
}

int ListByNode(const CommandLine& line) {
  if (!line.realm.empty()) {
    Complain("--realm needs ivmqd's admin socket: a node socket belongs to one realm");
    return kMisused;
  }
  const Result<Snapshot> snapshot = TakeSnapshot(line.node_socket);
  if (!snapshot.ok()) return Fail(snapshot.status());
  const bool json = line.json;
  if (line.subcommand == Subcommand::kPeers) {
    Print<PeerTable>(snapshot.value().peers, json);
  } else if (line.subcommand == Subcommand::kNodes) {
    Print<NodeTable>(snapshot.value().nodes, json);
  } else {
    PrintTopics(snapshot.value().topics, snapshot.value().services, json);
  }
  return kDone;
}

}  // namespace

bool UsesNodeSocket(const CommandLine& line) {
  if (line.admin_socket_given) return false;
  return !line.node_socket.empty() || ::access(line.admin_socket.c_str(), F_OK) != 0;
}

int RunList(const CommandLine& line) {
  const bool by_node = line.subcommand == Subcommand::kPeers ||
                       line.subcommand == Subcommand::kNodes ||
                       line.subcommand == Subcommand::kTopics;
  return by_node && UsesNodeSocket(line) ? ListByNode(line) : ListByAdmin(line);
}

}  // namespace ivmq::command
