#include "broker/keeper/keeper.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include "broker/keeper/limits.h"
#include "transport/log.h"

namespace ivmq::broker {
namespace {

using transport::Code;
using transport::ErrnoStatus;
using transport::ListeningSocket;
using transport::Status;
using transport::UniqueFd;

constexpr std::chrono::milliseconds kControlEndPatience{5000};
constexpr std::chrono::milliseconds kDyingPatience{1000};
// Connections of operators that control has not taken yet.
constexpr size_t kMostQueuedForAdmin = 1024;
constexpr const char* kControlIsGone = "control is not running: restart ivmqd";
constexpr int kFailed = 1;

}  // namespace

Keeper::Keeper(transport::EventLoop* loop, KeeperConfig config)
    : loop_(loop),
      config_(std::move(config)),
      budget_(RaiseOpenFileLimit()),
      cleanup_(loop),
      patience_(loop) {}

Keeper::~Keeper() = default;

Status Keeper::Start() {
  const transport::SocketAccess access{config_.socket_mode, config_.socket_group};
  auto admin =
      ListeningSocket::Open(config_.admin_socket, transport::UnixSocketType::kStream, access);
  if (!admin.ok()) return admin.status();
  admin_socket_ = std::move(admin).value();
  const Realm::Shared shared{loop_, &budget_, access};
  for (const RealmConfig& config : config_.realms) {
    auto realm = Realm::Open(shared, static_cast<uint32_t>(realms_.size()), config);
    if (!realm.ok()) return realm.status();
    realms_.push_back(std::move(realm).value());
    LogInfo("realm {}: {}, {} vectors, VMs at {}, processes at {}", config.name,
            FormatSize(config.region_bytes), config.vectors, config.vm_sockets.front(),
            config.node_socket);
  }
  journal_ = UniqueFd(memfd_create("ivmq-journal", MFD_CLOEXEC));
  if (!journal_) return ErrnoStatus(errno, "cannot create the journal");
  return StartControl();
}

Status Keeper::StartControl() {
  std::string binary = config_.control_binary;
  if (binary.empty()) {
    auto found = FindControlBinary();
    if (!found.ok()) return found.status();
    binary = std::move(found).value();
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    return ErrnoStatus(errno, "cannot create the socket to control");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  auto process =
      ControlProcess::Start(loop_, binary, LogLevelText(config_.log_level), std::move(theirs),
                            [this](const std::string& how) { OnControlExit(how); });
  if (!process.ok()) return process.status();
  control_process_ = std::move(process).value();
  control_ = std::make_unique<ControlLink>(
      loop_, std::move(ours), [this](const KeeperCommand& command) { OnCommand(command); },
      [this] { OnControlClosed(); });
  LogInfo("control started (pid {})", control_process_->pid());
  IntroduceAll();
  return {};
}

void Keeper::IntroduceAll() {
  KeeperEvent hello{};
  hello.kind = KeeperEventKind::kHello;
  hello.value = kKeeperProtocolVersion;
  hello.number = last_command_;
  control_->Send(hello, {{journal_.get()}, nullptr});
  for (const auto& realm : realms_) realm->Introduce(control_.get());
  KeeperEvent ready{};
  ready.kind = KeeperEventKind::kReady;
  control_->Send(ready);
}

int Keeper::Run() {
  loop_->Run();
  return exit_code_;
}

void Keeper::OnCommand(const KeeperCommand& command) {
  if (stopping_) return;
  KeeperEvent done{};
  done.kind = KeeperEventKind::kCommandDone;
  done.realm = command.realm;
  done.number = command.number;
  if (command.number <= last_command_) {
    LogError("control repeated command {}; {} was the last", command.number, last_command_);
  } else {
    last_command_ = command.number;
    done.flag = Execute(command) ? 1 : 0;
  }
  if (control_ != nullptr) control_->Send(done);
}

bool Keeper::Execute(const KeeperCommand& command) {
  if (command.realm >= realms_.size()) {
    LogError("control named realm {} of {}", command.realm, realms_.size());
    return false;
  }
  Realm& realm = *realms_[command.realm];
  switch (command.kind) {
    case KeeperCommandKind::kRealmReady:
      OnRealmReady(command);
      return true;
    case KeeperCommandKind::kEvictPeer:
      return realm.EvictPeer(command.peer);
    case KeeperCommandKind::kEvictNode:
      return realm.EvictNode(command.connection);
    case KeeperCommandKind::kForgetNode:
      realm.ForgetNode(command.connection);
      return true;
    case KeeperCommandKind::kRefused:
      Fail(fmt::format("realm {} cannot be served: {}", realm.config().name, command.text));
      return true;
  }
  LogError("control sent command {} of unknown kind {}", command.number,
           static_cast<uint32_t>(command.kind));
  return false;
}

void Keeper::OnRealmReady(const KeeperCommand& command) {
  Realm& realm = *realms_[command.realm];
  if (Status status = realm.Serve(command.peer); !status.ok()) {
    return Fail(fmt::format("realm {}: {}", realm.config().name, status.message()));
  }
  const bool all =
      std::all_of(realms_.begin(), realms_.end(), [](const auto& each) { return each->serving(); });
  if (!all || ready_) return;
  ready_ = true;
  admin_listener_ = std::make_unique<Listener>(
      loop_, admin_socket_.fd(),
      [this](UniqueFd connection) { OnAdminConnection(std::move(connection)); },
      [] { LogWarning("an operator's connection was refused: no file descriptors left"); });
  LogInfo("ready: operators at {}", config_.admin_socket);
  sd_notify(0, "READY=1");
}

void Keeper::OnAdminConnection(UniqueFd connection) {
  if (control_ == nullptr || control_->queued() >= kMostQueuedForAdmin) {
    LogWarning("an operator's connection was closed: {}",
               control_ == nullptr ? "control is not running; restart ivmqd" : "control is busy");
    return;
  }
  KeeperEvent event{};
  event.kind = KeeperEventKind::kAdminConnected;
  if (auto process = transport::PeerOf(connection.get()); process.ok()) {
    event.pid = process.value().pid;
    event.uid = process.value().uid;
    event.gid = process.value().gid;
    event.start_time = process.value().start_time;
  }
  const auto shared = std::make_shared<const UniqueFd>(std::move(connection));
  control_->Send(event, {{shared->get()}, shared});
}

void Keeper::OnControlClosed() {
  if (stopping_) return;
  LoseControl(kControlIsGone);
  // A control without its socket is of no use; usually it is dying, and its exit says how.
  patience_.Set(kDyingPatience, [this] {
    LogWarning("control closed its socket and runs on: killed");
    control_process_->Signal(SIGKILL);
  });
}

void Keeper::OnControlExit(const std::string& how) {
  if (stopping_) {
    LogInfo("control {}", how);
    return Finish();
  }
  patience_.Reset();
  LoseControl(kControlIsGone);
  if (!ready_) return Fail("control " + how + " before the realms were ready");
  const std::string what = fmt::format(
      "control {}. VMs and links go on; processes and operators are refused until ivmqd is "
      "restarted",
      how);
  LogError("{}", what);
  sd_notifyf(0, "STATUS=%s", what.c_str());
}

void Keeper::LoseControl(const std::string& why) {
  if (control_ == nullptr) return;
  const Status reason(Code::kUnavailable, why);
  for (const auto& realm : realms_) realm->LoseControl(reason);
  // A link is not destroyed from within its own callback.
  cleanup_.Set(std::chrono::milliseconds(0),
               [link = std::shared_ptr<ControlLink>(std::move(control_))] {});
}

void Keeper::Fail(const std::string& why) {
  LogError("{}", why);
  exit_code_ = kFailed;
  Stop();
}

void Keeper::Stop() {
  if (stopping_) return;
  stopping_ = true;
  sd_notify(0, "STOPPING=1");
  LogInfo("stopping");
  admin_listener_.reset();
  admin_socket_.Close();
  for (const auto& realm : realms_) realm->StopListening();
  if (control_process_ == nullptr || !control_process_->running()) return Finish();
  LoseControl("ivmqd is stopping");  // the end of its socket is its sign to end
  patience_.Set(kControlEndPatience, [this] {
    LogWarning("control did not end in {} s: killed", kControlEndPatience.count() / 1000);
    control_process_->Signal(SIGKILL);
  });
}

void Keeper::Finish() {
  patience_.Reset();
  loop_->Stop();
}

}  // namespace ivmq::broker
