#include "sdk/agent/control_stream.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "transport/wake.h"

namespace ivmq::agent {
namespace {

using std::chrono::milliseconds;
using transport::Code;
using transport::Look;
using transport::NodeWake;
using transport::Result;
using transport::Status;
using transport::StreamLinks;
using transport::UniqueFd;
using transport::Waiter;

constexpr milliseconds kFirstPoll{1};
constexpr milliseconds kLongestPoll{16};

}  // namespace

Result<std::unique_ptr<ControlStream>> ControlStream::Open(
    transport::EventLoop* loop, std::shared_ptr<transport::Device> device,
    const transport::StreamPlaces& places, UniqueFd socket,
    std::function<void(const Status&)> on_closed, transport::EventLoop::Handler on_awake) {
  // Where there is none, control looks at the rings by itself.
  Result<transport::Doorbell> doorbell = device->OpenDoorbell(0, 0);
  const transport::StreamOptions options{.side = transport::StreamSide::kAgent,
                                         .stream_id = device->peer_id()};
  Result<StreamLinks> links = transport::OpenStream(
      device, places, options, doorbell.ok() ? doorbell.value() : transport::Doorbell());
  if (!links.ok()) return links.status();
  Result<std::shared_ptr<NodeWake>> wake = NodeWake::Open(device, places.agent_wake_offset, 0);
  if (!wake.ok()) return wake.status();
  const bool interrupts = wake.value()->interrupts();
  Result<std::unique_ptr<Waiter>> waiter =
      Waiter::Open(std::move(wake).value(), {.strategy = transport::WaitStrategy::kBlock});
  if (!waiter.ok()) return waiter.status();

  std::unique_ptr<ControlStream> stream(new ControlStream(
      loop, std::move(socket), std::move(links).value(), std::move(waiter).value(), interrupts));
  stream->on_closed_ = std::move(on_closed);
  stream->on_awake_ = std::move(on_awake);
  if (Status status = stream->Watch(); !status.ok()) return status;
  return stream;
}

ControlStream::ControlStream(transport::EventLoop* loop, UniqueFd socket, StreamLinks links,
                             std::unique_ptr<Waiter> waiter, bool interrupts)
    : loop_(loop),
      waiter_(std::move(waiter)),
      interrupts_(interrupts),
      pump_(std::move(socket), std::move(links)),
      end_timer_(loop),
      poll_timer_(loop) {}

ControlStream::~ControlStream() {
  loop_->SetSleepHooks(nullptr, nullptr);
  waiter_watch_.Reset();
  socket_watch_.Reset();
  waiter_->DisarmFd();
  if (!pump_.done()) pump_.Shutdown();
}

Status ControlStream::Watch() {
  socket_watch_ = transport::FdWatch(loop_, pump_.fd(), transport::StreamPump::kEpollEvents,
                                     [this](uint32_t events) {
                                       if (ended_) return;
                                       poll_step_ = kFirstPoll;
                                       pump_.OnSocket(events);
                                       NoteEnd();
                                     });
  // What a doorbell means is found out by Awake(); this only ends the sleep.
  if (interrupts_) {
    waiter_watch_ = transport::FdWatch(loop_, waiter_->fd(), EPOLLIN, [](uint32_t) {});
  }
  if (!socket_watch_ || (interrupts_ && !waiter_watch_)) {
    return Status(Code::kResourceExhausted, "the kernel refuses to watch the stream's fds");
  }
  loop_->SetSleepHooks([this] { return Arm(); }, [this] { Awake(); });
  if (!interrupts_) Poll();
  return Status();
}

bool ControlStream::Arm() {
  if (ended_ || !interrupts_) return true;
  return waiter_->ArmFd([this](Look look) { return pump_.HasWork(look); });
}

void ControlStream::Awake() {
  if (interrupts_ && !ended_) {
    waiter_->DisarmFd();
    Pump();
  }
  on_awake_();
}

void ControlStream::Pump() {
  pump_.OnRing();
  NoteEnd();
}

void ControlStream::Poll() {
  Pump();
  const uint64_t moved = pump_.sent().records + pump_.received().records;
  poll_step_ = moved != moved_ ? kFirstPoll : std::min(2 * poll_step_, kLongestPoll);
  moved_ = moved;
  if (!ended_) poll_timer_.Set(poll_step_, [this] { Poll(); });
}

void ControlStream::NoteEnd() {
  if (ended_ || !pump_.done()) return;
  ended_ = true;
  // The pump has closed the socket, which took it out of the epoll set.
  socket_watch_.Reset();
  // Not from within a hook: whoever hears of it destroys this.
  end_timer_.Set(milliseconds(0),
                 [on_closed = on_closed_, status = pump_.status()] { on_closed(status); });
}

}  // namespace ivmq::agent
