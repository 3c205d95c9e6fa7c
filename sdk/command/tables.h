#ifndef IVMQ_SDK_COMMAND_TABLES_H_
#define IVMQ_SDK_COMMAND_TABLES_H_

#include <string>

#include "ivmq/v1/admin.pb.h"
#include "sdk/command/table.h"

namespace ivmq::command {

// What people get to see of each kind of thing. Any range of messages will do.

// "ONLINE" as people write it: "online"; "-" for unspecified.
std::string StateText(const std::string& state_name);

// The topic of a link, or what it carries of which service.
std::string LinkTopicText(const v1::Link& link);

// Messages that its subscriber has not read, as far as is known; 0 of a link without counters.
uint64_t UnreadOf(const v1::Link& link);

// The state of a link and why; of a subscriber that left messages unread, for how long.
std::string LinkStateText(const v1::Link& link);

class RealmTable {
 public:
  RealmTable();
  void Add(const v1::Realm& realm);
  void Print() const { table_.Print(); }

 private:
  Table table_;
};

class PeerTable {
 public:
  PeerTable();
  void Add(const v1::Peer& peer);
  void Print() const { table_.Print(); }

 private:
  Table table_;
};

class NodeTable {
 public:
  NodeTable();
  void Add(const v1::Node& node);
  void Print() const { table_.Print(); }

 private:
  Table table_;
};

class TopicTable {
 public:
  TopicTable();
  void Add(const v1::Topic& topic);
  void Print() const { table_.Print(); }

 private:
  Table table_;
};

class ServiceTable {
 public:
  ServiceTable();
  void Add(const v1::Service& service);
  void Print() const { table_.Print(); }

 private:
  Table table_;
};

class LinkTable {
 public:
  LinkTable();
  void Add(const v1::Link& link);
  // With a note where figures are the last known ones.
  void Print() const;

 private:
  Table table_;
  bool has_old_figures_ = false;
};

// What went wrong in a realm that an operator should know; empty if nothing has.
std::string RealmTroubles(const v1::Realm& realm);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_TABLES_H_
