// One process that uses a real ivmqd without the SDK, for ivmqd_system_test:
//
//   system_test_node NODE_SOCKET sub|pub|take|give|boast|hold|shut|visit TOPIC COUNT
//
// `sub` says "ready", reads COUNT numbered records and says "received COUNT"; `pub` waits for a
// subscriber, writes them and says "sent COUNT". `take` and `give` do the same and stay: `take` to
// be killed, `give` until the link is down, which it then closes. `asked-take` and `asked-give` say
// so also after the first ten, and go on once they were asked for their counters. `boast` is a
// `give` that says in the end that it wrote one more. `hold` registers both ends, says "ready" and
// waits to be killed; `shut` does the same, but ends its connection to the daemon first. `visit`
// has COUNT processes come one after the other, each of which registers both ends, gets the link
// between them and ends without a word; then it says "visited COUNT". Exit code 1 and a sentence on
// stdout where something fails.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "tests/control/test_node.h"
#include "transport/attach_client.h"
#include "transport/doorbell.h"
#include "transport/link_reader.h"
#include "transport/link_writer.h"
#include "transport/waiter.h"
#include "transport/wake.h"

namespace ivmq::control {
namespace {

using transport::Look;
using transport::WriteResult;
using Clock = std::chrono::steady_clock;

[[noreturn]] void Fail(const std::string& what) {
  std::printf("failed: %s\n", what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

void Say(const std::string& what) {
  std::printf("%s\n", what.c_str());
  std::fflush(stdout);
}

template <class T>
T Must(transport::Result<T> result) {
  if (!result.ok()) Fail(result.status().message());
  return std::move(result).value();
}

transport::WakeAddress AddressOf(const v1::WakeAddress& wake) {
  return {wake.wake_offset(), wake.ready_offset(), wake.peer_id(), wake.vector(), wake.polls()};
}

class Process {
 public:
  Process(const std::string& socket, bool asked)
      : asked_(asked),
        attached_(Must(transport::Attach(socket, Clock::now() + kPatience))),
        node_(attached_.welcome.connection_id, std::move(attached_.channel)) {
    v1::NodeRequest hello;
    hello.mutable_hello()->set_protocol_version(2);
    hello.mutable_hello()->set_node_name("p" + std::to_string(getpid()));
    const v1::NodeEvent welcome = node_.Call(hello);
    if (!welcome.has_welcome()) Fail(welcome.DebugString());
    wake_ = Must(transport::NodeWake::Open(attached_.device, welcome.welcome().wake_offset(),
                                           attached_.welcome.vector));
    waiter_ = Must(transport::Waiter::Open(wake_));
  }

  void Subscribe(const std::string& topic, uint64_t count, bool stay) {
    const v1::NodeEvent registered = node_.Subscribe(topic);
    if (!registered.has_subscriber_registered()) Fail("not registered");
    Say("ready");
    const v1::LinkUp up = NextLink();
    auto reader = Must(transport::LinkReader::Open(attached_.device, LinkOf(up), TakeDoorbell()));
    for (uint64_t expected = 0; expected < count;) {
      transport::RecordView record;
      const auto got = reader.TryRead(&record);
      if (got == transport::ReadResult::kCorrupt) Fail("corrupt");
      if (got == transport::ReadResult::kOk) {
        uint64_t number = 0;
        if (record.size != sizeof(number)) Fail("a record of another size");
        std::memcpy(&number, record.data, sizeof(number));
        if (number != expected++) Fail("out of order");
        reader.Release();
        if (asked_ && expected == kBeforeAsked) {
          Say("received " + std::to_string(expected));
          Answer(up.link_id(), 0, expected);
        }
        continue;
      }
      const auto result = waiter_->Wait(Clock::now() + kPatience, [&](Look look) {
        return look == Look::kSpin ? reader.Peek() : !reader.Arm();
      });
      if (result == transport::WaitResult::kDeadline) Fail("nothing came");
    }
    if (stay) {
      Say("received " + std::to_string(count));
      for (;;) pause();
    }
    v1::LinkCounters last;
    last.set_link_id(up.link_id());
    last.set_delivered(reader.counters().records);
    node_.LinkClosed(last);
    // Answered after the figures have arrived: our death could overtake them.
    node_.Unregister(registered.subscriber_registered().subscriber_id());
    Say("received " + std::to_string(count));
  }

  // `stay`: until the link is down; then it says that it has published `claimed`.
  void Publish(const std::string& topic, uint64_t count, bool stay, uint64_t claimed) {
    const v1::NodeEvent registered = node_.Publish(topic);
    if (!registered.has_publisher_registered()) Fail("not registered");
    const v1::LinkUp up = NextLink();
    auto writer = Must(transport::LinkWriter::Open(attached_.device, LinkOf(up), TakeDoorbell()));
    node_.LinkAttached(up.link_id());
    for (uint64_t number = 0; number < count;) {
      const auto wrote = writer.TryWrite(std::as_bytes(std::span(&number, 1)));
      if (wrote == WriteResult::kOk) {
        ++number;
        if (asked_ && number == kBeforeAsked) {
          writer.Flush();
          Say("sent " + std::to_string(number));
          Answer(up.link_id(), number, 0);
        }
        continue;
      }
      if (wrote != WriteResult::kFull) Fail("cannot write");
      const auto result = waiter_->Wait(Clock::now() + kPatience, [&](Look look) {
        return look == Look::kSpin ? writer.HasRoom(8) : writer.ArmSpace(8);
      });
      if (result == transport::WaitResult::kDeadline) Fail("no room came");
    }
    writer.Flush();
    Say("sent " + std::to_string(count));
    // What is committed is read after our death, too; no need to wait for that.
    if (!stay) return;
    if (!node_.NextOf(v1::NodeEvent::kLinkDown).has_link_down()) Fail("the link stays up");
    v1::LinkCounters last;
    last.set_link_id(up.link_id());
    last.set_published(claimed);
    node_.LinkClosed(last);
    node_.Unregister(registered.publisher_registered().publisher_id());
    Say("closed");
  }

  void Hold(const std::string& topic, bool shut) {
    Register(topic);
    if (shut) ::shutdown(attached_.connection.get(), SHUT_RDWR);
    Say("ready");
    for (;;) pause();
  }

  void Visit(const std::string& topic) {
    Register(topic);
    NextLink();
  }

 private:
  static constexpr uint64_t kBeforeAsked = 10;

  // The next question for its counters.
  void Answer(uint64_t link_id, uint64_t published, uint64_t delivered) {
    const v1::NodeEvent asked = node_.NextOf(v1::NodeEvent::kCountersWanted);
    if (!asked.has_counters_wanted()) Fail("nobody asked");
    v1::NodeRequest answer;
    answer.set_request_id(asked.request_id());
    v1::LinkCounters* counters = answer.mutable_counters()->add_links();
    counters->set_link_id(link_id);
    counters->set_published(published);
    counters->set_delivered(delivered);
    node_.Tell(answer);
  }
  void Register(const std::string& topic) {
    if (!node_.Publish(topic).has_publisher_registered()) Fail("not registered");
    if (!node_.Subscribe(topic).has_subscriber_registered()) Fail("not registered");
  }
  v1::LinkUp NextLink() {
    const v1::NodeEvent event = node_.NextOf(v1::NodeEvent::kLinkUp);
    if (!event.has_link_up()) Fail("no link came");
    return event.link_up();
  }
  transport::Doorbell TakeDoorbell() {
    if (node_.fds().size() != 1) Fail("the link came without a doorbell");
    return transport::Doorbell::Eventfd(
        std::make_shared<const transport::UniqueFd>(std::move(node_.fds()[0])));
  }
  static transport::LinkAddress LinkOf(const v1::LinkUp& up) {
    transport::LinkAddress link;
    link.link_id = up.link_id();
    link.ring_offset = up.ring_offset();
    link.ring_capacity = up.ring_capacity();
    link.consumer = AddressOf(up.consumer());
    link.producer = AddressOf(up.producer());
    return link;
  }

  const bool asked_;
  transport::Attached attached_;
  TestNode node_;
  std::shared_ptr<transport::NodeWake> wake_;
  std::unique_ptr<transport::Waiter> waiter_;
};

// Forked before anything is attached: nothing of a visitor is left in this process.
void HaveVisitors(const std::string& socket, const std::string& topic, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    const pid_t visitor = fork();
    if (visitor < 0) Fail("cannot fork");
    if (visitor == 0) {
      Process(socket, false).Visit(topic);
      std::_Exit(0);
    }
    int status = 0;
    if (waitpid(visitor, &status, 0) != visitor || status != 0) Fail("a visitor failed");
  }
  Say("visited " + std::to_string(count));
}

int Run(int argc, char** argv) {
  if (argc != 5) {
    Fail("usage: system_test_node NODE_SOCKET sub|pub|take|give|boast|hold|shut|visit TOPIC COUNT");
  }
  std::string mode = argv[2];
  const bool asked = mode.starts_with("asked-");
  if (asked) mode.erase(0, std::strlen("asked-"));
  const uint64_t count = std::strtoull(argv[4], nullptr, 10);
  if (mode == "visit") {
    HaveVisitors(argv[1], argv[3], count);
    return 0;
  }
  Process process(argv[1], asked);
  if (mode == "sub" || mode == "take") process.Subscribe(argv[3], count, mode == "take");
  if (mode == "pub" || mode == "give") process.Publish(argv[3], count, mode == "give", count);
  if (mode == "boast") process.Publish(argv[3], count, true, count + 1);
  if (mode == "hold" || mode == "shut") process.Hold(argv[3], mode == "shut");
  return 0;
}

}  // namespace
}  // namespace ivmq::control

int main(int argc, char** argv) { return ivmq::control::Run(argc, argv); }
