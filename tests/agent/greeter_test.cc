#include "sdk/agent/greeter.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>

#include "tests/transport/local_realm.h"

namespace ivmq::agent {
namespace {

using transport::LocalRealm;
using transport::PeerEntry;

// The greeter of peer 1, on a loop that the test turns, and the test in the place of control.
class GreeterTest : public testing::Test {
 protected:
  GreeterTest() {
    entry_->peer_id = 1;
    entry_->state = static_cast<uint32_t>(transport::PeerState::kConnected);
  }

  template <class Condition>
  bool TurnUntil(Condition condition) {
    const auto deadline = transport::EventLoop::Clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (transport::EventLoop::Clock::now() > deadline) return false;
      loop_->RunOnce(std::chrono::milliseconds(10));
    }
    return true;
  }
  void Start() {
    session_.reset();
    greeter_.Start([this](const Greeter::Session& session) { session_ = session; });
  }
  bool SaysHelloAfter(uint64_t hello) {
    return TurnUntil([&] { return entry_->hello > hello; });
  }
  bool Accept(uint64_t session_nonce) {
    entry_->session_nonce = session_nonce;
    entry_->accepted_hello = entry_->hello.load();
    return TurnUntil([&] { return session_.has_value(); });
  }

  LocalRealm realm_;
  std::shared_ptr<transport::MemfdDevice> host_ = realm_.AddPeer(0);
  std::shared_ptr<transport::MemfdDevice> vm_ = realm_.AddPeer(1);
  PeerEntry* entry_ = transport::PeerEntryAt(host_->region(), realm_.info(), 0);
  std::unique_ptr<transport::EventLoop> loop_ = LocalRealm::Must(transport::EventLoop::Create());
  std::optional<Greeter::Session> session_;
  Greeter greeter_{loop_.get(), vm_, realm_.info(), {{1, 2}, 3}};
};

TEST_F(GreeterTest, EchoesTheNonceOfTheSessionThatItFinds) {
  entry_->session_nonce = 77;  // of an earlier boot
  Start();
  ASSERT_TRUE(SaysHelloAfter(0));
  EXPECT_EQ(entry_->echoed_nonce, 77U);
  ASSERT_TRUE(Accept(78));
  EXPECT_EQ(session_->nonce, 78U);
  EXPECT_EQ(entry_->echoed_nonce, 77U);
  const uint64_t hello = entry_->hello;
  Start();
  ASSERT_TRUE(SaysHelloAfter(hello));
  EXPECT_EQ(entry_->echoed_nonce, 78U);
}

TEST_F(GreeterTest, SaysItsHelloAgainWhereItWasWrittenOver) {
  Start();
  ASSERT_TRUE(SaysHelloAfter(0));
  entry_->boot_id[0] = 9;
  entry_->hello = 40;
  entry_->accepted_hello = 40;
  ASSERT_TRUE(SaysHelloAfter(40));
  EXPECT_EQ(entry_->boot_id[0], 1U);
  EXPECT_FALSE(session_.has_value());
  EXPECT_TRUE(Accept(78));
}

}  // namespace
}  // namespace ivmq::agent
