#include "transport/attach_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <utility>

#include "transport/fd_passing.h"

namespace ivmq::transport {
namespace {

// What the epoll set tells of beside connection IDs, which count up from Options, and the same with
// the highest bit for the process behind a connection.
constexpr uint64_t kListenerTag = ~uint64_t{0};
constexpr uint64_t kTimerTag = ~uint64_t{0} - 1;
constexpr uint64_t kPatienceTag = ~uint64_t{0} - 2;
constexpr uint64_t kProcessBit = uint64_t{1} << 63;

// A dying process closes its sockets a moment before its end can be seen.
constexpr std::chrono::milliseconds kExitTakes{100};
// From the end of a connection until it is forgotten, unless something of it stays in use.
constexpr std::chrono::seconds kForgettingTakes{1};

constexpr int kEventsPerProcess = 64;
constexpr int kAcceptsPerProcess = 64;
constexpr long kPauseNanoseconds = 100'000'000;

Status Watch(int epoll, int fd, uint32_t events, uint64_t tag) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    return ErrnoStatus(errno, "cannot watch a connection");
  }
  return Status();
}

AttachMessage NewMessage(AttachKind kind) {
  AttachMessage message{};
  message.magic = kAttachMagic;
  message.version = kAttachVersion;
  message.kind = kind;
  return message;
}

Status SendMessage(int socket, const AttachMessage& message, std::span<const int> fds) {
  const ssize_t sent = SendWithFds(socket, std::as_bytes(std::span(&message, 1)), fds);
  if (sent >= 0) return Status();
  if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM) {
    // Until others have received what is theirs: the client tries again until its deadline.
    return Status(Code::kUnavailable,
                  "the daemon cannot send file descriptors: too many of its user are on their way, "
                  "to processes that are stopped, or there is no memory");
  }
  return ErrnoStatus(errno, "cannot send to a client");
}

}  // namespace

AttachServer::AttachServer(UniqueFd listener, std::shared_ptr<const Device> device, Options options,
                           Callbacks callbacks)
    : listener_(std::move(listener)),
      device_(std::move(device)),
      options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      next_connection_id_(options_.first_connection_id) {}

Result<std::unique_ptr<AttachServer>> AttachServer::Create(UniqueFd listener,
                                                           std::shared_ptr<const Device> device,
                                                           Options options, Callbacks callbacks) {
  if (options.first_vector > options.last_vector || options.last_vector >= options.realm.vectors) {
    return Status(Code::kInvalidArgument,
                  "clients' vectors " + std::to_string(options.first_vector) + " to " +
                      std::to_string(options.last_vector) + " of a realm with " +
                      std::to_string(options.realm.vectors));
  }
  std::unique_ptr<AttachServer> server(new AttachServer(std::move(listener), std::move(device),
                                                        std::move(options), std::move(callbacks)));
  if (Status status = server->Start(); !status.ok()) return status;
  return server;
}

Status AttachServer::Start() {
  load_.assign(options_.last_vector - options_.first_vector + 1, 0);
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return ErrnoStatus(errno, "cannot create an epoll set");
  for (const auto& [timer, tag] :
       {std::pair(&timer_, kTimerTag), {&patience_timer_, kPatienceTag}}) {
    *timer = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!*timer) return ErrnoStatus(errno, "cannot create a timer");
    if (Status status = Watch(epoll_.get(), timer->get(), EPOLLIN, tag); !status.ok()) {
      return status;
    }
  }
  if (Status status = Watch(epoll_.get(), listener_.get(), EPOLLIN, kListenerTag); !status.ok()) {
    return status;
  }
  accepting_ = true;
  return Status();
}

Result<AttachServer::ChannelEnds> AttachServer::NewChannelEnds() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    return ErrnoStatus(errno, "cannot create a control channel");
  }
  return ChannelEnds{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

int AttachServer::fd() const { return epoll_.get(); }

void AttachServer::Process() {
  std::array<epoll_event, kEventsPerProcess> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerProcess, 0);
  bool newcomers = false;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.u64 == kListenerTag) {
      newcomers = true;
    } else if (event.data.u64 == kTimerTag) {
      ResumeAccepting();
    } else if (event.data.u64 == kPatienceTag) {
      OnPatienceEnds();
    } else if ((event.data.u64 & kProcessBit) != 0) {
      OnProcessEnd(event.data.u64 & ~kProcessBit);
    } else {
      OnClientEvent(event.data.u64, event.events);
    }
  }
  if (newcomers) AcceptSome(count < kEventsPerProcess);
}

void AttachServer::AcceptSome(bool heard_all) {
  for (int i = 0; i < kAcceptsPerProcess; ++i) {
    if (refusal_.ok() && clients_.size() >= options_.max_clients) {
      if (i > 0 && !HasNewcomers()) full_since_.reset();
      // Of those that left before the first of these came, we know then.
      if (i > 0 || !heard_all) return;
      if (MayHaveRoomSoon()) return PauseAccepting();
    }
    // First the fds that a newcomer needs: one that is accepted is served.
    if (!spare_channel_.ours) {
      Result<ChannelEnds> ends = NewChannelEnds();
      if (!ends.ok()) return PauseAccepting();
      spare_channel_ = std::move(ends).value();
    }
    if (!spare_fd_) {
      spare_fd_ = UniqueFd(::fcntl(epoll_.get(), F_DUPFD_CLOEXEC, 0));
      if (!spare_fd_) return PauseAccepting();
    }
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      const bool admitted = clients_.size() < options_.max_clients;
      if (full_since_ && admitted) full_since_ = std::chrono::steady_clock::now();
      Greet(std::move(socket));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    // EMFILE, ENFILE, ENOBUFS, ENOMEM: the listener stays readable, so stop looking for a while.
    if (errno != EAGAIN) return PauseAccepting();
    full_since_.reset();
    return;
  }
}

bool AttachServer::HasNewcomers() const {
  pollfd waiting{listener_.get(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) > 0;
}

bool AttachServer::MayHaveRoomSoon() {
  if (open_ == clients_.size()) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_closed_ >= kForgettingTakes) return false;
  if (!full_since_) full_since_ = now;
  return now - *full_since_ < kForgettingTakes;
}

void AttachServer::PauseAccepting() {
  if (!accepting_) return;
  itimerspec soon{};
  soon.it_value.tv_nsec = kPauseNanoseconds;
  if (::timerfd_settime(timer_.get(), 0, &soon, nullptr) != 0) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  accepting_ = false;
}

void AttachServer::ResumeAccepting() {
  uint64_t expirations = 0;
  [[maybe_unused]] const ssize_t size = ::read(timer_.get(), &expirations, sizeof(expirations));
  if (accepting_) return;
  accepting_ = Watch(epoll_.get(), listener_.get(), EPOLLIN, kListenerTag).ok();
  if (!accepting_) {
    // Out of kernel memory: try again a tick later.
    itimerspec soon{};
    soon.it_value.tv_nsec = kPauseNanoseconds;
    ::timerfd_settime(timer_.get(), 0, &soon, nullptr);
  }
}

void AttachServer::Greet(UniqueFd socket) {
  if (!refusal_.ok()) return SendRefusal(socket.get(), refusal_);
  if (clients_.size() >= options_.max_clients) return SendRefusal(socket.get(), FullStatus());
  const Result<PeerProcess> process = PeerOf(socket.get());
  if (!process.ok()) return SendRefusal(socket.get(), process.status());
  spare_fd_.Reset();
  Result<UniqueFd> watched = options_.open_process(process.value());
  if (!watched.ok()) return SendRefusal(socket.get(), watched.status());
  const uint64_t id = next_connection_id_;
  const uint32_t vector = LeastLoadedVector();
  // Watched before it is greeted: its end must not be missed.
  Status status = Watch(epoll_.get(), socket.get(), EPOLLIN | EPOLLRDHUP, id);
  if (status.ok()) {
    status = Watch(epoll_.get(), watched.value().get(), EPOLLIN, id | kProcessBit);
  }
  if (status.ok()) status = SendWelcome(socket.get(), id, vector, spare_channel_.theirs.get());
  if (!status.ok()) return SendRefusal(socket.get(), status);

  ChannelEnds channel = std::move(spare_channel_);
  channel.theirs.Reset();  // it lives in the client alone
  ++next_connection_id_;
  ++load_[vector - options_.first_vector];
  ++open_;
  clients_.emplace(id, Connection{std::move(socket), std::move(watched).value(), vector});
  callbacks_.on_attached(Client{id, process.value(), vector, std::move(channel.ours)});
}

Status AttachServer::SendWelcome(int socket, uint64_t connection_id, uint32_t vector,
                                 int channel) const {
  AttachMessage welcome = NewMessage(AttachKind::kWelcome);
  std::vector<int> fds;
  if (Status status = device_->Lend(vector, &welcome, &fds); !status.ok()) return status;
  fds.insert(fds.begin() + 1, channel);
  welcome.fd_count = static_cast<uint32_t>(fds.size());
  welcome.connection_id = connection_id;
  welcome.vector = vector;
  welcome.vectors = options_.realm.vectors;
  welcome.generation = options_.realm.generation;
  std::copy(options_.realm.uuid.begin(), options_.realm.uuid.end(), welcome.realm_uuid);
  const std::string& name = options_.realm.realm_name;
  std::copy_n(name.begin(), std::min(name.size(), kRealmNameBytes - 1), welcome.realm_name);
  return SendMessage(socket, welcome, fds);
}

void AttachServer::SendRefusal(int socket, const Status& reason) const {
  AttachMessage refusal = NewMessage(AttachKind::kRefused);
  refusal.code = static_cast<uint32_t>(reason.code());
  const std::string& text = reason.message();
  std::copy_n(text.begin(), std::min(text.size(), sizeof(refusal.text) - 1), refusal.text);
  // A client that cannot take even this sees its connection close, which says enough.
  [[maybe_unused]] const Status sent = SendMessage(socket, refusal, {});
}

Status AttachServer::FullStatus() const {
  const std::string most = ", at most " + std::to_string(options_.max_clients);
  const size_t closed = clients_.size() - open_;
  std::string text = "this machine has ";
  if (closed == 0) {
    text += std::to_string(open_) + " nodes attached" + most +
            " are allowed; `ivmq nodes` lists them. End some";
  } else {
    text += "no place for another node: " + std::to_string(open_) + " attached and " +
            std::to_string(closed) + " closed or evicted whose processes still run" + most +
            " together; end such processes";
  }
  return {Code::kResourceExhausted, std::move(text)};
}

void AttachServer::OnClientEvent(uint64_t connection_id, uint32_t events) {
  const auto found = clients_.find(connection_id);
  // Gone by the hand of a callback earlier in this batch.
  if (found == clients_.end() || !Release(&found->second)) return;
  last_closed_ = std::chrono::steady_clock::now();
  // Without EPOLLHUP it wrote, or shut down its half: it lives, and broke the protocol.
  if ((events & EPOLLHUP) == 0) return callbacks_.on_gone(connection_id, Gone::kClosed);
  leaving_.push_back({last_closed_ + kExitTakes, connection_id});
  if (leaving_.size() == 1) ArmPatience();
}

void AttachServer::OnProcessEnd(uint64_t connection_id) {
  const auto found = clients_.find(connection_id);
  if (found == clients_.end()) return;
  Erase(found);
  callbacks_.on_gone(connection_id, Gone::kDied);
}

void AttachServer::OnPatienceEnds() {
  uint64_t expirations = 0;
  [[maybe_unused]] const ssize_t size =
      ::read(patience_timer_.get(), &expirations, sizeof(expirations));
  const auto now = std::chrono::steady_clock::now();
  while (!leaving_.empty() && leaving_.front().patience_ends <= now) {
    const uint64_t id = leaving_.front().connection_id;
    leaving_.pop_front();
    if (clients_.contains(id)) callbacks_.on_gone(id, Gone::kClosed);
  }
  if (!leaving_.empty()) ArmPatience();
}

void AttachServer::ArmPatience() {
  const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(
      leaving_.front().patience_ends - std::chrono::steady_clock::now());
  itimerspec when{};
  when.it_value.tv_nsec = std::clamp<long>(left.count(), 1, 999'999'999);
  ::timerfd_settime(patience_timer_.get(), 0, &when, nullptr);
}

bool AttachServer::Release(Connection* connection) {
  if (!connection->socket) return false;
  connection->socket.Reset();
  --load_[connection->vector - options_.first_vector];
  --open_;
  // An fd is free again: no need to wait for the timer.
  if (!accepting_) ResumeAccepting();
  return true;
}

void AttachServer::Refuse(Status reason) { refusal_ = std::move(reason); }

bool AttachServer::Close(uint64_t connection_id) {
  const auto found = clients_.find(connection_id);
  if (found == clients_.end() || !Release(&found->second)) return false;
  last_closed_ = std::chrono::steady_clock::now();
  callbacks_.on_gone(connection_id, Gone::kClosed);
  return true;
}

void AttachServer::Forget(uint64_t connection_id) {
  const auto found = clients_.find(connection_id);
  if (found == clients_.end()) return;
  Erase(found);
}

void AttachServer::Erase(Clients::iterator client) {
  Release(&client->second);
  clients_.erase(client);
  if (!accepting_) ResumeAccepting();
}

uint32_t AttachServer::LeastLoadedVector() const {
  const auto least = std::min_element(load_.begin(), load_.end());
  return options_.first_vector + static_cast<uint32_t>(std::distance(load_.begin(), least));
}

}  // namespace ivmq::transport
