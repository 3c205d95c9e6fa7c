// Stands in for ivmqd-control in tests of the keeper: takes its events, and obeys whoever connects
// to the admin socket. One request a line, each answered by lines that end with ".":
//
//   events               every event so far, one a line
//   evict-peer R ID      evict-node R CONNECTION
//   crash                dies by SIGKILL
//   hang                 never reads again
//
// IVMQ_FAKE_CONTROL in the environment: "refuse" refuses every realm, "exit" exits with code 3
// at once, "stubborn" ignores SIGTERM, "peers=N" is the number of VMs that it has room for.

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "broker/keeper_protocol.h"
#include "transport/fd_passing.h"
#include "transport/unique_fd.h"

namespace ivmq::broker {
namespace {

using transport::UniqueFd;

class FakeControl {
 public:
  explicit FakeControl(std::string mode) : mode_(std::move(mode)) {}

  int Run() {
    for (;;) {
      std::vector<pollfd> polled = {{kControlSocketFd, POLLIN, 0}};
      for (const auto& [fd, operator_socket] : operators_) polled.push_back({fd, POLLIN, 0});
      if (poll(polled.data(), polled.size(), -1) < 0) continue;
      if (polled[0].revents != 0 && !ReadEvent()) return 0;
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
    switch (event.kind) {
      case KeeperEventKind::kHello:
        line << "hello version=" << event.value << " last=" << event.number;
        break;
      case KeeperEventKind::kRealm:
        line << "realm " << event.realm << " " << event.name << " bytes=" << event.region_bytes
             << " vectors=" << event.vectors << " new=" << event.flag;
        ++realms_;
        break;
      case KeeperEventKind::kDoorbells:
        line << "doorbells " << event.realm << " " << event.peer << " first=" << event.value
             << " count=" << event.count;
        break;
      case KeeperEventKind::kPeerConnected:
        line << "connected " << event.realm << " " << event.peer << " socket=" << event.index
             << " pid=" << event.pid;
        break;
      case KeeperEventKind::kPeerGone:
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
    line << " fds=" << fds.size() << "\n";
    log_ += line.str();
    if (event.kind == KeeperEventKind::kReady) AnswerRealms();
    if (event.kind == KeeperEventKind::kAdminConnected && !fds.empty()) {
      const int fd = fds.front().get();
      operators_[fd] = std::move(fds.front());
    }
    if (event.kind == KeeperEventKind::kNodeAttached && !fds.empty()) {
      channels_[event.connection] = std::move(fds.front());
    }
    if (event.kind == KeeperEventKind::kNodeGone) channels_.erase(event.connection);
    return true;
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
    std::istringstream words(std::string(text, static_cast<size_t>(size)));
    std::string verb;
    KeeperCommand command{};
    uint64_t which = 0;
    words >> verb >> command.realm >> which;
    std::string answer;
    if (verb == "events") {
      answer = log_;
    } else if (verb == "evict-peer") {
      command.kind = KeeperCommandKind::kEvictPeer;
      command.peer = static_cast<uint32_t>(which);
      Send(command);
    } else if (verb == "evict-node") {
      command.kind = KeeperCommandKind::kEvictNode;
      command.connection = which;
      Send(command);
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
  std::map<int, UniqueFd> operators_;
  std::map<uint64_t, UniqueFd> channels_;
};

}  // namespace
}  // namespace ivmq::broker

int main() {
  const char* given = std::getenv("IVMQ_FAKE_CONTROL");
  const std::string mode = given == nullptr ? "" : given;
  if (mode == "exit") return 3;
  if (mode == "stubborn") std::signal(SIGTERM, SIG_IGN);
  return ivmq::broker::FakeControl(mode).Run();
}
