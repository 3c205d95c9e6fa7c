#include "sdk/command/realm_view.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

namespace ivmq::command {
namespace {

constexpr std::chrono::seconds kSnapshotWithin{5};
constexpr std::chrono::milliseconds kInterruptEvery{100};

}  // namespace

struct RealmView::Told {
  std::mutex mutex;
  std::condition_variable changed;
  bool complete = false;
  std::map<std::string, std::string> types;  // by topic
  std::map<std::string, Service> services;

  void Take(const Node::Discovery& found) {
    const std::lock_guard lock(mutex);
    const bool there = found.kind != Node::Discovery::Kind::kRemoved;
    if (found.kind == Node::Discovery::Kind::kSnapshotDone) {
      complete = true;
    } else if (found.subject == Node::Discovery::Subject::kTopic) {
      types[found.name] = there ? found.detail : "";
    } else if (found.subject == Node::Discovery::Subject::kService) {
      services[found.name] =
          there ? Service{found.detail, found.reply_type, found.servers} : Service();
    }
    changed.notify_all();
  }
};

Result<RealmView> RealmView::Open(Node* node) {
  auto told = std::make_shared<Told>();
  Status status = node->WatchDiscovery([told](const Node::Discovery& found) { told->Take(found); });
  if (!status.ok()) return status;
  std::unique_lock lock(told->mutex);
  if (!told->changed.wait_for(lock, kSnapshotWithin, [&] { return told->complete; })) {
    return Status(Code::kDeadlineExceeded, "ivmqd did not list what there is within 5 s");
  }
  lock.unlock();
  return RealmView(std::move(told));
}

std::string RealmView::TypeOf(const std::string& topic) const {
  const std::lock_guard lock(told_->mutex);
  const auto found = told_->types.find(topic);
  return found == told_->types.end() ? std::string() : found->second;
}

RealmView::Service RealmView::AwaitService(const std::string& service, uint32_t servers,
                                           std::chrono::nanoseconds timeout,
                                           const Interrupt& interrupt) const {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::unique_lock lock(told_->mutex);
  const auto enough = [&] { return told_->services[service].servers >= servers; };
  while (!enough() && !interrupt.happened() && std::chrono::steady_clock::now() < deadline) {
    told_->changed.wait_for(lock, kInterruptEvery, enough);
  }
  return told_->services[service];
}

}  // namespace ivmq::command
