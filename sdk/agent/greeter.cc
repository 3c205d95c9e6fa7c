#include "sdk/agent/greeter.h"

#include <sys/epoll.h>
#include <sys/random.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "transport/log.h"

namespace ivmq::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using transport::Code;
using transport::ErrnoStatus;
using transport::Result;
using transport::Status;

constexpr const char* kBootIdPath = "/proc/sys/kernel/random/boot_id";
constexpr milliseconds kFirstBackoff{5};
constexpr milliseconds kLongestBackoff{1000};
constexpr seconds kComplainAfter{5};

// "6fe0b3a2-….": 16 bytes in the order in which they are written.
bool ParseBootId(const std::string& text, std::array<uint64_t, 2>* boot_id) {
  std::array<uint8_t, 16> bytes{};
  size_t digits = 0;
  for (const char character : text) {
    if (character == '-') continue;
    if (std::isxdigit(static_cast<unsigned char>(character)) == 0 || digits == 32) return false;
    const int value = std::isdigit(static_cast<unsigned char>(character)) != 0
                          ? character - '0'
                          : std::tolower(static_cast<unsigned char>(character)) - 'a' + 10;
    bytes[digits / 2] = static_cast<uint8_t>(bytes[digits / 2] << 4 | value);
    ++digits;
  }
  std::memcpy(boot_id->data(), bytes.data(), bytes.size());
  return digits == 32;
}

}  // namespace

Result<Greeter::Identity> Greeter::Identity::OfThisProcess() {
  Identity identity;
  std::ifstream file(kBootIdPath);
  std::string text;
  if (!std::getline(file, text) || !ParseBootId(text, &identity.boot_id)) {
    return Status(Code::kFailedPrecondition,
                  std::string(kBootIdPath) + ": expected a UUID, found '" + text + "'");
  }
  if (::getrandom(&identity.nonce, sizeof(identity.nonce), 0) != sizeof(identity.nonce)) {
    return ErrnoStatus(errno, "cannot get random bytes");
  }
  return identity;
}

Greeter::Greeter(transport::EventLoop* loop, std::shared_ptr<transport::Device> device,
                 const transport::RegionInfo& region, const Identity& identity)
    : loop_(loop), device_(std::move(device)), region_(region), identity_(identity), timer_(loop) {
  Result<transport::Doorbell> doorbell = device_->OpenDoorbell(0, 0);
  if (doorbell.ok()) {
    doorbell_ = std::move(doorbell).value();
  } else {
    LogWarning("cannot ring control, it will find the hello by looking: {}",
               doorbell.status().message());
  }
}

void Greeter::Start(OnAccepted on_accepted) {
  on_accepted_ = std::move(on_accepted);
  started_ = transport::EventLoop::Clock::now();
  backoff_ = kFirstBackoff;
  complained_ = false;
  slot_.reset();  // an entry that we find from now on has not heard this hello
  ++hello_;
  WatchVector();
  timer_.Set(milliseconds(0), [this] { Step(); });
}

void Greeter::WatchVector() {
  if (watch_ || device_->vector_count() == 0) return;
  watch_ = transport::FdWatch(loop_, device_->vector_fd(0), EPOLLIN | EPOLLET, [this](uint32_t) {
    if (on_accepted_) TakeAnswer();
  });
}

void Greeter::Step() {
  const std::optional<uint32_t> slot =
      transport::FindPeerSlot(device_->region(), region_, device_->peer_id());
  const bool is_new = slot != slot_;
  if (is_new) {
    slot_ = slot;
    entry_ = slot ? transport::PeerEntryAt(device_->region(), region_, *slot) : nullptr;
  }
  // Said again where somebody else has written over it: control would answer a hello that we did
  // not say.
  if (entry_ != nullptr && (is_new || entry_->hello.load(std::memory_order_relaxed) != hello_)) {
    SayHello();
  }
  if (entry_ != nullptr) {
    doorbell_.Ring();
    if (TakeAnswer()) return;
  }
  if (!complained_ && transport::EventLoop::Clock::now() - started_ > kComplainAfter) {
    complained_ = true;
    LogWarning(
        "{} (peer {}); waiting. If ivmqd was restarted or this VM evicted since it started: "
        "restart the VM",
        entry_ == nullptr ? "this machine is not in the realm's peer table yet"
                          : "control does not answer the hello",
        device_->peer_id());
  }
  timer_.Set(backoff_, [this] { Step(); });
  backoff_ = std::min<transport::EventLoop::Clock::duration>(2 * backoff_, kLongestBackoff);
}

void Greeter::SayHello() {
  // The counter must differ from whatever an earlier agent of this machine has left there.
  const uint64_t accepted = entry_->accepted_hello.load(std::memory_order_relaxed);
  const uint64_t last = entry_->hello.load(std::memory_order_relaxed);
  hello_ = std::max({hello_, accepted + 1, last + 1});
  if (hello_ == accepted) ++hello_;
  entry_->boot_id[0].store(identity_.boot_id[0], std::memory_order_relaxed);
  entry_->boot_id[1].store(identity_.boot_id[1], std::memory_order_relaxed);
  entry_->nonce.store(identity_.nonce, std::memory_order_relaxed);
  entry_->echoed_nonce.store(entry_->session_nonce.load(std::memory_order_relaxed),
                             std::memory_order_relaxed);
  entry_->interrupts.store(device_->vector_count() > 0 ? 1 : 0, std::memory_order_relaxed);
  entry_->layout_version.store(transport::kLayoutVersion, std::memory_order_relaxed);
  entry_->vectors.store(device_->vector_count(), std::memory_order_relaxed);
  Beat();
  // Pairs with control's acquire of hello.
  entry_->hello.store(hello_, std::memory_order_release);
}

bool Greeter::TakeAnswer() {
  // Pairs with control's release after it has written the places.
  if (entry_ == nullptr || entry_->accepted_hello.load(std::memory_order_acquire) != hello_) {
    return false;
  }
  Session session;
  session.places = transport::LoadStreamPlaces(*entry_);
  session.nonce = entry_->session_nonce.load(std::memory_order_relaxed);
  Finish(session);
  return true;
}

void Greeter::Finish(const Session& session) {
  timer_.Reset();
  watch_.Reset();
  session_nonce_ = session.nonce;
  control_beats_ = false;
  control_seen_ = transport::EventLoop::Clock::now();
  control_heartbeat_ = transport::HeaderOf(device_->region())->heartbeat.load();
  // Last: it may say a new hello.
  const OnAccepted accepted = std::exchange(on_accepted_, nullptr);
  accepted(session);
}

bool Greeter::Superseded() const {
  return entry_ == nullptr ||
         entry_->peer_id.load(std::memory_order_relaxed) != device_->peer_id() ||
         entry_->session_nonce.load(std::memory_order_relaxed) != session_nonce_;
}

void Greeter::Beat() {
  if (entry_ != nullptr) entry_->heartbeat.store(++heartbeat_, std::memory_order_relaxed);
}

transport::EventLoop::Clock::duration Greeter::ControlSilence() {
  const transport::EventLoop::Clock::time_point now = transport::EventLoop::Clock::now();
  const uint64_t beat =
      transport::HeaderOf(device_->region())->heartbeat.load(std::memory_order_relaxed);
  if (beat != control_heartbeat_) {
    control_heartbeat_ = beat;
    control_beats_ = true;
    control_seen_ = now;
  }
  return control_beats_ ? now - control_seen_ : transport::EventLoop::Clock::duration::zero();
}

}  // namespace ivmq::agent
