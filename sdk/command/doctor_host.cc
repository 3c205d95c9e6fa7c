#include "sdk/command/doctor_host.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "sdk/command/doctor_machine.h"
#include "sdk/command/output.h"
#include "sdk/command/tables.h"

namespace ivmq::command {
namespace {

// A subscriber that has left messages unread for so long is found to have stopped.
constexpr uint64_t kForgottenMs = 10'000;

// "socket,path=/x,id=a": the first part under "", a part without '=' as key with value "on".
std::map<std::string, std::string> ParseOptions(const std::string& text) {
  std::map<std::string, std::string> options;
  size_t begin = 0;
  bool first = true;
  while (begin <= text.size()) {
    // ",," stands for a comma in a value; paths with commas are rare enough to be shown cut.
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const size_t equals = part.find('=');
    if (equals != std::string::npos) {
      options[part.substr(0, equals)] = part.substr(equals + 1);
    } else {
      options[first ? "" : part] = first ? part : "on";
    }
    first = false;
    begin = end + 1;
  }
  return options;
}

int ToInt(const std::string& text, int otherwise) {
  int value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

bool SaysReconnect(const std::map<std::string, std::string>& chardev) {
  const auto found = chardev.find("reconnect");
  const auto found_ms = chardev.find("reconnect-ms");
  return (found != chardev.end() && found->second != "0") ||
         (found_ms != chardev.end() && found_ms->second != "0");
}

// -smp N, -smp cpus=N,maxcpus=M, -smp sockets=…: whether more than one CPU may ever be there.
bool AllowsSecondCpu(const std::string& smp) {
  const auto options = ParseOptions(smp);
  int product = 1;
  for (const auto& [key, value] : options) {
    const int count = ToInt(value, 1);
    if (key.empty() || key == "cpus" || key == "maxcpus") {
      if (count > 1) return true;
    } else {
      product *= std::max(1, count);
    }
  }
  return product > 1;
}

std::vector<std::string> ArgumentsOf(const std::string& cmdline) {
  std::vector<std::string> arguments;
  size_t begin = 0;
  while (begin < cmdline.size()) {
    const size_t end = std::min(cmdline.find('\0', begin), cmdline.size());
    arguments.push_back(cmdline.substr(begin, end - begin));
    begin = end + 1;
  }
  return arguments;
}

// Whether both name one file, by whatever links and relative to wherever `pid` runs.
bool IsSameSocket(int pid, const std::string& named, const std::string& socket) {
  if (named.empty() || socket.empty()) return false;
  std::error_code error;
  const std::filesystem::path folder =
      std::filesystem::read_symlink(fmt::format("/proc/{}/cwd", pid), error);
  const std::filesystem::path path = folder / named;  // an absolute one stays as it is
  return path.lexically_normal() == std::filesystem::path(socket).lexically_normal() ||
         std::filesystem::equivalent(path, socket, error);
}

// Of a QEMU that this daemon does not know.
void ExamineStranger(const std::string& name, int pid, const QemuCommandLine::Device& device,
                     const std::vector<std::string>& sockets, Findings* findings) {
  for (const std::string& socket : sockets) {
    if (!IsSameSocket(pid, device.socket, socket)) continue;
    return findings->Warn(name,
                          fmt::format("names {}, but is no peer: ivmqd was restarted, or it was "
                                      "evicted, since it started",
                                      socket),
                          "restart the VM: QEMU never connects again");
  }
  findings->Ok(name, fmt::format("connects to {}: not of this ivmqd",
                                 device.socket.empty() ? "another socket" : device.socket));
}

// The vectors of the realms that a process is connected to.
std::set<uint32_t> VectorsOf(int pid, const v1::ListPeersResponse& known) {
  std::set<uint32_t> vectors;
  for (const v1::Peer& peer : known.peers()) {
    for (const v1::Realm& realm : known.realms()) {
      if (peer.pid() == pid && peer.realm() == realm.name()) vectors.insert(realm.vectors());
    }
  }
  return vectors;
}

}  // namespace

void ExaminePeers(const v1::ListPeersResponse& known, Findings* findings) {
  for (const v1::Peer& peer : known.peers()) {
    if (peer.peer_id() == 0) continue;  // the host
    const std::string name =
        fmt::format("{} of realm {} (QEMU {})", peer.peer_id(), peer.realm(), peer.pid());
    if (peer.state() == v1::Peer::SUSPECT) {
      findings->Warn(
          "peer",
          fmt::format("{}: no sign of life for {}", name, HumanDuration(peer.heartbeat_age_ms())),
          "is the VM paused, or starved of CPU? Else restart ivmq-agent in it. Its memory stays "
          "its "
          "own");
    } else if (peer.state() == v1::Peer::CONNECTED) {
      findings->Warn("peer",
                     fmt::format("{}: {}", name,
                                 peer.boot_id().empty() ? "no agent has said hello"
                                                        : "its agent is not in contact"),
                     "start ivmq-agent in the guest; its log, and ivmq doctor there, say more");
    } else if (peer.state() == v1::Peer::EVICTED) {
      findings->Warn(
          "peer",
          fmt::format("{}: evicted, and keeps its memory and its place in the peer table", name),
          "they come back when its QEMU ends; only a new one gets back into the realm");
    }
  }
}

void ExamineLinks(const v1::ListLinksResponse& known, Findings* findings) {
  for (const v1::Link& link : known.links()) {
    const std::string name =
        fmt::format("{} ({}) from {} of peer {} to {} of peer {}", link.link_id(),
                    LinkTopicText(link), link.publisher_node(), link.publisher_peer_id(),
                    link.subscriber_node(), link.subscriber_peer_id());
    const v1::LinkCounters& counters = link.counters();
    const uint64_t unread = UnreadOf(link);
    if (link.state() == v1::Link::QUARANTINED) {
      findings->Warn("link", fmt::format("{}: {}", name, link.reason()),
                     "restart both of them: nothing is carried any more");
    } else if (unread > 0 && counters.read_age_ms() >= kForgottenMs) {
      findings->Warn(
          "link",
          fmt::format("{}: {} message{} unread, the last was read {} ago{}", name, unread,
                      unread == 1 ? "" : "s", HumanDuration(counters.read_age_ms()),
                      counters.subscriber_answered() ? "" : "; its process does not answer"),
          "is the subscriber stopped or stuck in a handler? A reliable publisher waits for it once "
          "the ring is full; ivmq links shows both");
    }
  }
}

void ExamineQemu(int pid, const QemuCommandLine& qemu, const v1::ListPeersResponse& known,
                 const std::vector<std::string>& sockets, Findings* findings) {
  const std::string name = fmt::format("QEMU {}", pid);
  const std::set<uint32_t> vectors = VectorsOf(pid, known);
  uint64_t peers = 0;
  for (const v1::Realm& realm : known.realms()) {
    peers = std::max<uint64_t>(peers, realm.peers_connected());
  }
  uint64_t files = 256;
  bool good = true;
  for (const QemuCommandLine::Device& device : qemu.devices) {
    if (device.is_plain) {
      good = false;
      findings->Warn(name, "an ivshmem-plain device: it has no doorbells and no peer ID",
                     "use -device ivshmem-doorbell,chardev=…,vectors=…");
      continue;
    }
    files += (peers + 1) * static_cast<uint64_t>(device.vectors);
    if (device.reconnects) {
      good = false;
      findings->Fail(name, fmt::format("chardev {} has reconnect=", device.chardev),
                     "QEMU hangs at start with it: take reconnect= away");
    }
    if (vectors.empty() && !sockets.empty()) {
      good = false;
      ExamineStranger(name, pid, device, sockets, findings);
    }
    if (!vectors.empty() && vectors.count(static_cast<uint32_t>(device.vectors)) == 0) {
      good = false;
      findings->Fail(name,
                     fmt::format("vectors={} of chardev {}, but its realm has {}", device.vectors,
                                 device.chardev, fmt::join(vectors, ", ")),
                     fmt::format("start it with vectors={}", *vectors.begin()));
    }
  }
  if (qemu.emulates && qemu.one_possible_cpu) {
    good = false;
    findings->Fail(name, "emulates (TCG) with -smp 1: the guest's atomics are no atomics then",
                   "-smp 1,maxcpus=2, or -accel kvm");
  }
  if (good) {
    findings->Ok(name, fmt::format("{} ivshmem device{}, {}", qemu.devices.size(),
                                   qemu.devices.size() == 1 ? "" : "s",
                                   qemu.emulates ? "emulation (TCG)" : "KVM"));
  }
  ExamineFileLimit("QEMU", pid, files, findings);
}

QemuCommandLine ParseQemu(const std::vector<std::string>& arguments) {
  QemuCommandLine qemu;
  std::map<std::string, std::map<std::string, std::string>> chardevs;
  std::vector<std::map<std::string, std::string>> devices;
  bool second_cpu = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string flag = arguments[i];
    if (flag.rfind("--", 0) == 0) flag.erase(0, 1);
    if (flag == "-enable-kvm") qemu.emulates = false;
    if (i + 1 == arguments.size()) break;
    const std::string& value = arguments[i + 1];
    if (flag == "-chardev") {
      auto options = ParseOptions(value);
      chardevs[options["id"]] = options;
    } else if (flag == "-device" && value.rfind("ivshmem", 0) == 0) {
      devices.push_back(ParseOptions(value));
    } else if (flag == "-accel" || flag == "-machine" || flag == "-M") {
      const bool other = value.find("kvm") != std::string::npos &&
                         (flag == "-accel" || value.find("accel=") != std::string::npos);
      if (other) qemu.emulates = false;
    } else if (flag == "-smp") {
      second_cpu = AllowsSecondCpu(value);
    }
  }
  qemu.one_possible_cpu = !second_cpu;
  for (auto& options : devices) {
    QemuCommandLine::Device device;
    device.is_plain = options[""] == "ivshmem-plain";
    device.chardev = options["chardev"];
    if (options.count("vectors") > 0) device.vectors = ToInt(options["vectors"], 1);
    auto& chardev = chardevs[device.chardev];
    device.socket = chardev["path"];
    device.reconnects = SaysReconnect(chardev);
    qemu.devices.push_back(device);
  }
  return qemu;
}

void ExamineQemus(const v1::ListPeersResponse& known, const std::vector<std::string>& sockets,
                  Findings* findings) {
  std::error_code error;
  size_t unreadable = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const int pid = ToInt(entry.path().filename().string(), 0);
    if (pid <= 0) continue;
    const std::string name = ReadFile(entry.path() / "comm");
    if (name.rfind("qemu", 0) != 0 && name.rfind("kvm", 0) != 0) continue;
    const std::vector<std::string> arguments = ArgumentsOf(ReadFile(entry.path() / "cmdline"));
    if (arguments.empty()) {
      ++unreadable;
      continue;
    }
    const QemuCommandLine qemu = ParseQemu(arguments);
    if (!qemu.devices.empty()) ExamineQemu(pid, qemu, known, sockets, findings);
  }
  if (unreadable > 0) {
    findings->Warn("QEMU", fmt::format("{} whose command line cannot be read", unreadable),
                   "run ivmq doctor as root");
  }
}

}  // namespace ivmq::command
