// What `ivmq` says where an ivmqd serves several realms.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include "tests/command/run_command.h"
#include "tests/sdk/daemon.h"
#include "tests/transport/test_daemon.h"

namespace ivmq::command {
namespace {

using test::Child;
using testing::HasSubstr;

class SeveralRealmsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(test::WaitUntil([&] { return Run({"realms"}).exit_code == 0; }));
  }
  std::string Path(const std::string& name) const { return folder_.path() + "/" + name; }
  Finished Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"--admin-socket", Path("admin")});
    return RunIvmq(arguments);
  }
  std::vector<std::string> Start() const {
    std::ofstream(Path("toml")) << "admin-socket = \"" << Path("admin") << "\"\n"
                                << RealmOf("red") << RealmOf("blue");
    return {"ivmqd", "--config", Path("toml")};
  }
  std::string RealmOf(const std::string& name) const {
    return "[[realm]]\nname = \"" + name + "\"\nsize = \"16MiB\"\nvm-socket = \"" +
           Path(name + "-vm") + "\"\nnode-socket = \"" + Path(name + "-node") + "\"\n";
  }

  const transport::TemporaryDirectory folder_;
  const Child daemon_{Start()};
};

TEST_F(SeveralRealmsTest, WatchNamesThem) {
  const auto host_of = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> arguments{IvmqPath(), "--admin-socket", Path("admin"), "watch"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    Child watch(arguments);
    std::string lines = watch.ReadLine() + "\n" + watch.ReadLine();
    watch.Signal(SIGTERM);
    EXPECT_EQ(watch.Wait(), 0);
    return lines;
  };
  const std::string both = host_of({"--peers"});
  EXPECT_THAT(both, HasSubstr(" + realm red: peer 0: "));
  EXPECT_THAT(both, HasSubstr(" + realm blue: peer 0: "));
  EXPECT_THAT(host_of({"--peers", "--realm", "red"}), HasSubstr(" + peer 0: "));
}

TEST_F(SeveralRealmsTest, AMachineIsEvictedOnlyFromTheOneThatIsNamed) {
  const Finished of_none = Run({"evict", "peer", "7"});
  EXPECT_EQ(of_none.exit_code, 2);
  EXPECT_THAT(of_none.err, HasSubstr("say which with --realm"));
  EXPECT_THAT(Run({"evict", "peer", "7", "--realm", "blue"}).err, HasSubstr("there is no peer 7"));
}

}  // namespace
}  // namespace ivmq::command
