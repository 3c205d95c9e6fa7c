// What an operator is shown once every ID of a realm was given out: stock QEMU must not meet one
// that it knew, so none comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "ivmq/v1/admin.pb.h"
#include "tests/command/run_command.h"
#include "tests/sdk/daemon.h"
#include "transport/region.h"
#include "transport/unix_socket.h"

namespace ivmq::command {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class IdsExhaustedTest : public testing::Test {
 protected:
  Finished Run(const std::vector<std::string>& words) const {
    std::vector<std::string> all{"--admin-socket", daemon_.admin_socket()};
    all.insert(all.end(), words.begin(), words.end());
    return RunIvmq(all);
  }
  // The ID that the next client of the VM socket gets; 0 where it is refused.
  int64_t Connect() const {
    const auto socket =
        transport::ConnectUnix(daemon_.vm_socket(), transport::UnixSocketType::kStream,
                               std::chrono::steady_clock::now() + std::chrono::seconds(60));
    EXPECT_TRUE(socket.ok()) << socket.status().message();
    int64_t greeting[2] = {};  // the protocol's version and the ID
    for (int64_t& value : greeting) {
      pollfd ready{socket.value().get(), POLLIN, 0};
      EXPECT_EQ(poll(&ready, 1, 60'000), 1);
      if (recv(socket.value().get(), &value, sizeof value, 0) != sizeof value) return 0;
    }
    return greeting[1];
  }

  const test::Daemon daemon_{{"--vectors", "1", "--log-level", "error"}};
};

TEST_F(IdsExhaustedTest, PeersAndRealmsShowHowManyVmsWereRefused) {
  EXPECT_THAT(Run({"peers"}).out, Not(HasSubstr("refused")));
  for (int64_t id = 1; id <= transport::kMaxPeerId; ++id) ASSERT_EQ(Connect(), id);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Connect(), 0);
  const std::string said = "3 VMs refused: all 65535 IDs were given out, restart ivmqd\n";
  EXPECT_TRUE(test::WaitUntil([&] { return Run({"peers"}).out.ends_with(said); }));
  EXPECT_THAT(Run({"realms"}).out, EndsWith(said));

  const Finished peers = Run({"peers", "--json"});
  EXPECT_THAT(peers.err, EndsWith(said));
  for (const std::string& line : peers.Lines()) ParseJson<v1::Peer>(line);
  const auto realms = Run({"realms", "--json"}).Lines();
  ASSERT_EQ(realms.size(), 1u);
  EXPECT_EQ(ParseJson<v1::Realm>(realms[0]).refused_ids_exhausted(), 3u);
}

}  // namespace
}  // namespace ivmq::command
