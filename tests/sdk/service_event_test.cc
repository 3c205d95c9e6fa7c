// What clients and servers hear of each other, and of what the application throws.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "ivmq/ivmq.h"
#include "ringbuf/ring_layout.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/events.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using Kind = Event::Kind;

constexpr auto kLong = 60s;

class ServiceEventTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name, EventHandler on_event = {}) {
    return Node::Open({.name = name,
                       .socket_path = control_.socket_path(),
                       .on_event = std::move(on_event)})
        .value();
  }
  static Status Echo(BytesServerCall& call) { return call.Reply(call.query()); }
  void TellSuspect(uint64_t link_id, bool suspect) {
    v1::NodeEvent event;
    event.mutable_link_suspect()->set_link_id(link_id);
    event.mutable_link_suspect()->set_suspect(suspect);
    control_.SendEvent(1, event);
    control_.SendEvent(2, event);
  }
  void TellRefused(uint64_t node, uint64_t endpoint) {
    v1::NodeEvent event;
    event.mutable_link_refused()->set_endpoint_id(endpoint);
    event.mutable_link_refused()->set_topic("s");
    event.mutable_link_refused()->set_other_node("picky");
    event.mutable_link_refused()->set_reason("wants another type");
    control_.SendEvent(node, event);
  }

  FakeControl control_;
  Events of_server_;
  Events of_client_;
  Events of_node_;
  Node server_node_ = Open("server");
  Node client_node_ = Open("client", of_node_.handler());
};

TEST_F(ServiceEventTest, TellsBothSidesOfAPairThatComesAndGoes) {
  auto server = std::make_unique<BytesServer>(
      server_node_.CreateBytesServer("s", "", "", Echo, {.on_event = of_server_.handler()})
          .value());
  auto client = client_node_.CreateClient("s", {.on_event = of_client_.handler()}).value();
  const FakeControl::Link request = control_.links().at(0);
  const Event matched = of_client_.Await(Kind::kMatched);
  EXPECT_EQ(matched.topic, "s");
  EXPECT_EQ(matched.node, "node-1");
  EXPECT_EQ(matched.link_id, request.id);
  EXPECT_EQ(of_node_.Await(Kind::kMatched).link_id, request.id);
  EXPECT_EQ(of_server_.Await(Kind::kMatched).node, "node-2");

  // Control tells it of both links of the pair.
  for (const bool suspect : {true, false}) {
    TellSuspect(request.id, suspect);
    TellSuspect(request.pair, suspect);
  }
  for (Events* events : {&of_client_, &of_server_}) {
    EXPECT_EQ(events->Await(Kind::kSuspect).link_id, request.id);
    EXPECT_EQ(events->Await(Kind::kAlive).link_id, request.id);
  }

  TellRefused(1, request.subscriber);
  TellRefused(2, request.publisher);
  for (Events* events : {&of_client_, &of_server_}) {
    const Event refused = events->Await(Kind::kIncompatible);
    EXPECT_EQ(refused.node, "picky");
    EXPECT_EQ(refused.topic, "s");
    EXPECT_EQ(refused.detail, "wants another type");
  }

  server.reset();
  EXPECT_EQ(of_client_.Await(Kind::kGone).detail, "it was closed");
  for (const Kind once : {Kind::kMatched, Kind::kSuspect, Kind::kAlive, Kind::kGone}) {
    EXPECT_EQ(of_client_.Count(once), 1u) << EventName(once);
  }
  EXPECT_EQ(of_server_.Count(Kind::kGone), 0u) << "it went itself";
}

TEST_F(ServiceEventTest, TellsTheServerThatItsClientIsGone) {
  auto server =
      server_node_.CreateBytesServer("s", "", "", Echo, {.on_event = of_server_.handler()});
  client_node_.CreateClient("s").value().Close();
  EXPECT_EQ(of_server_.Await(Kind::kGone).node, "node-2");
}

TEST_F(ServiceEventTest, TellsOfAClientThatWritesNonsense) {
  auto server =
      server_node_.ServeBytes("s", "", "", Echo, {.on_event = of_server_.handler()}).value();
  auto client = client_node_.CreateClient("s").value();
  std::byte* const ring = control_.region().data() + control_.links().at(0).ring_offset;
  *reinterpret_cast<uint64_t*>(ring + sizeof(ringbuf::RingDescriptor)) = ~uint64_t{0};
  EXPECT_EQ(of_server_.Await(Kind::kGone).detail, "the client wrote nonsense into the ring");
}

TEST_F(ServiceEventTest, TellsWhatHandlersAndCallbacksThrow) {
  const auto fail = [](BytesServerCall&) -> Status { throw std::runtime_error("a handler"); };
  auto server =
      server_node_.ServeBytes("s", "", "", fail, {.on_event = of_server_.handler()}).value();
  auto client = client_node_.CreateClient("s", {.on_event = of_client_.handler()}).value();
  ASSERT_TRUE(client
                  .CallAsync(AsBytes("x"), kLong,
                             [](const Result<Bytes>& reply) {
                               EXPECT_EQ(reply.status().code(), Code::kInternal);
                               throw std::runtime_error("a callback");
                             })
                  .ok());
  EXPECT_EQ(of_server_.Await(Kind::kCallbackFailed).detail, "a handler");
  const Event of_callback = of_client_.Await(Kind::kCallbackFailed);
  EXPECT_EQ(of_callback.detail, "a callback");
  EXPECT_EQ(of_callback.topic, "s");
}

TEST_F(ServiceEventTest, TellsNothingAfterTheEnd) {
  auto server = server_node_.CreateBytesServer("s", "", "", Echo).value();
  auto told = std::make_unique<Events>();
  {
    auto client = client_node_.CreateClient("s", {.on_event = told->handler()}).value();
    told->Await(Kind::kMatched);
  }
  told.reset();
  server.Close();
  // What came for the client has passed once another is answered.
  EXPECT_TRUE(client_node_.CreateClient("s").ok());
}

TEST_F(ServiceEventTest, TellsNothingOfACallbackThatThrowsWhileItsClientCloses) {
  // A server that never answers, so that the request ends with the client.
  auto server = server_node_.CreateBytesServer("s", "", "", Echo).value();
  auto told = std::make_unique<Events>();
  std::atomic<bool> threw{false};
  {
    auto client = client_node_.CreateClient("s", {.on_event = told->handler()}).value();
    ASSERT_TRUE(client.WaitForServers(1, kLong).ok());
    ASSERT_TRUE(client
                    .CallAsync(AsBytes("x"), kLong,
                               [&](const auto& /*reply*/) {
                                 threw = true;
                                 throw std::runtime_error("of the callback");
                               })
                    .ok());
  }
  told.reset();
  EXPECT_TRUE(WaitUntil([&] { return threw.load(); }));
  EXPECT_TRUE(client_node_.CreateClient("s").ok());
}

}  // namespace
}  // namespace ivmq::test
