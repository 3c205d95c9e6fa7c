// A guest that stands still and goes on, as processes on the host hear of it.
#include <gtest/gtest.h>
#include <ivmq/ivmq.h>

#include <chrono>
#include <span>
#include <string>

#include "tests/sdk/daemon.h"
#include "tests/sdk/events.h"

namespace ivmq::agent {
namespace {

constexpr std::chrono::seconds kPatience{60};
constexpr int kRound = 200;  // messages; a ring takes far more

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

Node Open(const std::string& socket, const std::string& name) {
  return Node::Open({.name = name, .socket_path = socket, .timeout = kPatience}).value();
}

// One that publishes numbers to one that awaits them in order.
class Numbers {
 public:
  Numbers(Node& from, Node& to, const std::string& topic, test::Events* heard_by_publisher,
          test::Events* heard_by_subscriber)
      : subscriber_(to.CreateBytesSubscriber(
                          topic, "",
                          {.join_timeout = kPatience, .on_event = heard_by_subscriber->handler()})
                        .value()),
        publisher_(from.CreateBytesPublisher(topic, "",
                                             {.reliability = Block(kPatience),
                                              .on_event = heard_by_publisher->handler()})
                       .value()) {
    EXPECT_TRUE(publisher_.WaitForSubscribers(1, kPatience).ok());
  }
  void Publish(int count) {
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(publisher_.Publish(Bytes(std::to_string(published_++))).ok());
    }
    publisher_.Flush();
  }
  void ReceiveAll() {
    for (; received_ < published_; ++received_) {
      const auto got = subscriber_.Receive(kPatience);
      ASSERT_TRUE(got.ok()) << received_ << ": " << got.status().ToString();
      ASSERT_EQ(got->text(), std::to_string(received_));
    }
  }

 private:
  BytesSubscriber subscriber_;
  BytesPublisher publisher_;
  int published_ = 0;
  int received_ = 0;
};

TEST(PausedGuestTest, PartnersOfAGuestThatStandsStillHearThatItIsSuspectAndThenAlive) {
  test::Daemon daemon({"--vectors", "4"});
  const std::string socket = daemon.directory() + "/guest.sock";
  test::Child guest({PSEUDO_GUEST_PATH, daemon.vm_socket(), socket, "4"});
  ASSERT_EQ(guest.ReadLine(), "peer 1");
  Node in_guest = Open(socket, "in-guest");
  Node on_host = Open(daemon.node_socket(), "on-host");
  test::Events host_publishes;
  test::Events host_subscribes;
  test::Events unheard;
  Numbers to_guest(on_host, in_guest, "to.guest", &host_publishes, &unheard);
  Numbers to_host(in_guest, on_host, "to.host", &unheard, &host_subscribes);
  const auto exchange = [&] {
    to_guest.Publish(kRound);
    to_host.Publish(kRound);
    to_guest.ReceiveAll();
    to_host.ReceiveAll();
  };
  exchange();

  guest.Stop();
  for (test::Events* heard : {&host_publishes, &host_subscribes}) {
    const Event suspect = heard->Await(Event::Kind::kSuspect);
    EXPECT_EQ(suspect.peer_id, 1u);
    EXPECT_EQ(suspect.node, "in-guest");
    EXPECT_EQ(heard->Count(Event::Kind::kAlive), 0u);
  }
  // It is shown and nothing more: the link takes what fits its ring.
  to_guest.Publish(kRound);
  guest.Signal(SIGCONT);
  for (test::Events* heard : {&host_publishes, &host_subscribes}) {
    EXPECT_EQ(heard->Await(Event::Kind::kAlive).node, "in-guest");
    EXPECT_EQ(heard->Count(Event::Kind::kGone), 0u);
  }
  to_guest.ReceiveAll();
  exchange();
}

}  // namespace
}  // namespace ivmq::agent
