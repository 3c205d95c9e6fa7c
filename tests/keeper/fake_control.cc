// Stands in for ivmqd-control in tests of the keeper: takes its events, and obeys whoever connects
// to the admin socket. One request a line, each answered by lines that end with ".":
//
//   events               the latest events, one a line
//   seen TEXT            "yes" if that is anywhere in its events, from the first to the last
//   evict-peer R ID      evict-node R CONNECTION
//   ring R PEER VECTOR   rings that doorbell as the host
//   crash                dies by SIGKILL
//   hang                 never reads again
//
// IVMQ_FAKE_CONTROL in the environment: "refuse" refuses every realm, "exit" exits with code 3
// at once, "stubborn" does not end with the keeper, "peers=N" is the number of VMs that it has room
// for.

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "broker/keeper_protocol.h"
#include "transport/fd_passing.h"
#include "transport/region.h"
#include "transport/unique_fd.h"

namespace ivmq::broker {
namespace {

using transport::UniqueFd;

constexpr size_t kLongestAnswer = 32 << 10;  // a socket takes it at once

class FakeControl {
 public:
  explicit FakeControl(std::string mode) : mode_(std::move(mode)) {}

  int Run() {
    for (;;) {
      std::vector<pollfd> polled = {{kControlSocketFd, POLLIN, 0}};
      for (const auto& [fd, operator_socket] : operators_) polled.push_back({fd, POLLIN, 0});
      if (poll(polled.data(), polled.size(), -1) < 0) continue;
      if (polled[0].revents != 0 && !ReadEvent()) {
        while (mode_ == "stubborn") pause();
        return 0;
      }
      for (size_t i = 1; i < polled.size(); ++i) {
        if (polled[i].revents != 0) ReadRequest(polled[i].fd);
      }
    }
  }

 private:
  bool ReadEvent() {
    KeeperEvent event{};
    std::vector<UniqueFd> fds;
    const auto got = transport::ReceiveWithFds(
        kControlSocketFd, std::as_writable_bytes(std::span(&event, 1)), kMaxDoorbellFds, &fds);
    if (got.bytes < 0) return true;
    if (got.bytes != sizeof event) return false;
    std::ostringstream line;
    const size_t fd_count = fds.size();
    switch (event.kind) {
      case KeeperEventKind::kHello:
        line << "hello version=" << event.value << " last=" << event.number;
        break;
      case KeeperEventKind::kRealm:
        if (!fds.empty()) Format(event, std::move(fds.front()));
        line << "realm " << event.realm << " " << event.name << " bytes=" << event.region_bytes
             << " vectors=" << event.vectors << " new=" << event.flag;
        ++realms_;
        break;
      case KeeperEventKind::kDoorbells:
        line << "doorbells " << event.realm << " " << event.peer << " first=" << event.value
             << " count=" << event.count;
        for (UniqueFd& fd : fds) doorbells_[{event.realm, event.peer}].push_back(std::move(fd));
        break;
      case KeeperEventKind::kPeerConnected:
        line << "connected " << event.realm << " " << event.peer << " socket=" << event.index
             << " pid=" << event.pid;
        break;
      case KeeperEventKind::kPeerGone:
        doorbells_.erase({event.realm, event.peer});
        line << "gone " << event.realm << " " << event.peer
             << " proof=" << static_cast<uint32_t>(event.proof);
        break;
      case KeeperEventKind::kNodeAttached:
        line << "attached " << event.realm << " " << event.connection << " vector=" << event.vector
             << " pid=" << event.pid;
        break;
      case KeeperEventKind::kNodeGone:
        line << "detached " << event.realm << " " << event.connection
             << " proof=" << static_cast<uint32_t>(event.proof);
        break;
      case KeeperEventKind::kAdminConnected:
        line << "admin pid=" << event.pid;
        break;
      case KeeperEventKind::kPeerRefused:
        line << "refused " << event.realm << " reason=" << event.value << " count=" << event.count;
        break;
      case KeeperEventKind::kReady:
        line << "ready";
        break;
      case KeeperEventKind::kCommandDone:
        line << "done " << event.number << " flag=" << event.flag;
        break;
    }
    line << " fds=" << fd_count << "\n";
    log_ += line.str();
    if (event.kind == KeeperEventKind::kReady) AnswerRealms();
    if (event.kind == KeeperEventKind::kAdminConnected && !fds.empty()) {
      const int fd = fds.front().get();
      operators_[fd] = std::move(fds.front());
    }
    if (event.kind == KeeperEventKind::kNodeAttached && !fds.empty()) {
      channels_[event.connection] = std::move(fds.front());
    }
    if (event.kind == KeeperEventKind::kNodeGone) {
      channels_.erase(event.connection);
      if (event.proof == GoneProof::kNone) {
        KeeperCommand command{};
        command.kind = KeeperCommandKind::kForgetNode;
        command.realm = event.realm;
        command.connection = event.connection;
        Send(command);
      }
    }
    return true;
  }

  static void Format(const KeeperEvent& event, UniqueFd region) {
    void* const memory =
        mmap(nullptr, event.region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region.get(), 0);
    if (memory == MAP_FAILED) return;
    transport::RegionParameters parameters;
    parameters.realm_name = event.name;
    std::copy(std::begin(event.uuid), std::end(event.uuid), parameters.uuid.begin());
    parameters.vectors = event.vectors;
    parameters.generation = event.generation;
    [[maybe_unused]] const auto status =
        transport::FormatRegion({static_cast<std::byte*>(memory), event.region_bytes}, parameters);
    munmap(memory, event.region_bytes);
  }

  void Ring(uint32_t realm, uint32_t peer, uint64_t vector) {
    const auto found = doorbells_.find({realm, peer});
    if (found == doorbells_.end() || vector >= found->second.size()) return;
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t size = write(found->second[vector].get(), &one, sizeof one);
  }

  void AnswerRealms() {
    for (uint32_t realm = 0; realm < realms_; ++realm) {
      KeeperCommand command{};
      command.realm = realm;
      command.peer = mode_.starts_with("peers=") ? std::stoul(mode_.substr(6)) : 1024;
      command.kind = KeeperCommandKind::kRealmReady;
      if (mode_ == "refuse") {
        command.kind = KeeperCommandKind::kRefused;
        std::strncpy(command.text, "it is too small for its peer table", sizeof command.text - 1);
      }
      Send(command);
    }
  }

  void Send(KeeperCommand command) {
    command.number = ++number_;
    send(kControlSocketFd, &command, sizeof command, MSG_NOSIGNAL);
  }

  void ReadRequest(int fd) {
    char text[256];
    const ssize_t size = recv(fd, text, sizeof text, MSG_DONTWAIT);
    if (size <= 0) {
      operators_.erase(fd);
      return;
    }
    const std::string request(text, static_cast<size_t>(size));
    std::istringstream words(request);
    std::string verb;
    KeeperCommand command{};
    uint64_t which = 0;
    words >> verb >> command.realm >> which;
    std::string answer;
    if (verb == "events") {
      answer = log_.substr(log_.size() - std::min(log_.size(), kLongestAnswer));
    } else if (verb == "seen") {
      const bool seen = log_.find(request.substr(verb.size() + 1)) != std::string::npos;
      answer = seen ? "yes\n" : "no\n";
    } else if (verb == "evict-peer") {
      command.kind = KeeperCommandKind::kEvictPeer;
      command.peer = static_cast<uint32_t>(which);
      Send(command);
    } else if (verb == "evict-node") {
      command.kind = KeeperCommandKind::kEvictNode;
      command.connection = which;
      Send(command);
    } else if (verb == "ring") {
      uint64_t vector = 0;
      words >> vector;
      Ring(command.realm, static_cast<uint32_t>(which), vector);
    } else if (verb == "crash") {
      raise(SIGKILL);
    } else if (verb == "hang") {
      answer = ".\n";
      send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
      for (;;) pause();
    }
    answer += ".\n";
    send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
  }

  const std::string mode_;
  std::string log_;
  uint32_t realms_ = 0;
  uint64_t number_ = 0;
  std::map<std::pair<uint32_t, uint32_t>, std::vector<UniqueFd>> doorbells_;  // by realm and peer
  std::map<int, UniqueFd> operators_;
  std::map<uint64_t, UniqueFd> channels_;
};

}  // namespace
}  // namespace ivmq::broker

int main() {
  // The stubborn and the hanging must not outlive a keeper that a test killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const char* given = std::getenv("IVMQ_FAKE_CONTROL");
  const std::string mode = given == nullptr ? "" : given;
  if (mode == "exit") return 3;
  std::signal(SIGTERM, SIG_IGN);  // as control does: the end of the socket is what counts
  return ivmq::broker::FakeControl(mode).Run();
}
