#ifndef IVMQ_TESTS_COMMAND_COMMAND_FIXTURE_H_
#define IVMQ_TESTS_COMMAND_COMMAND_FIXTURE_H_

#include <gtest/gtest.h>
#include <ivmq/ivmq.h>

#include <chrono>
#include <string>
#include <vector>

#include "ivmq/v1/admin.pb.h"
#include "tests/command/run_command.h"
#include "tests/sdk/daemon.h"

namespace ivmq::command {

inline constexpr std::chrono::seconds kPatience{60};

// Tests of the command against a real ivmqd.
class CommandFixture : public testing::Test {
 protected:
  std::vector<std::string> WithSockets(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all{"--node-socket", daemon_.node_socket(), "--admin-socket",
                                 daemon_.admin_socket()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }
  Finished Run(const std::vector<std::string>& arguments, const std::string& input = "") const {
    return RunIvmq(WithSockets(arguments), input);
  }
  test::Child Start(const std::vector<std::string>& arguments) const {
    std::vector<std::string> all{IvmqPath()};
    for (const std::string& argument : WithSockets(arguments)) all.push_back(argument);
    return test::Child(all);
  }
  std::string Sockets() const {
    return "--node-socket " + daemon_.node_socket() + " --admin-socket " + daemon_.admin_socket();
  }
  // By the shell: `words` may have quotes and redirections; `before` are variables.
  test::Child StartByShell(const std::string& words, const std::string& before = "") const {
    return test::Child(
        {"/bin/sh", "-c", before + " exec " + IvmqPath() + " " + Sockets() + " " + words});
  }
  Node Open(const std::string& name) const {
    return Node::Open({.name = name, .socket_path = daemon_.node_socket(), .timeout = kPatience})
        .value();
  }
  // The link to the only subscriber of the topic.
  v1::Link LinkOf(const std::string& topic) const {
    v1::Link link;
    EXPECT_TRUE(test::WaitUntil([&] {
      const auto lines = Run({"links", "--topic", topic, "--json"}).Lines();
      if (lines.size() == 1) link = ParseJson<v1::Link>(lines[0]);
      return link.state() == v1::Link::UP;
    }));
    return link;
  }

  test::Daemon daemon_;
};

}  // namespace ivmq::command

#endif  // IVMQ_TESTS_COMMAND_COMMAND_FIXTURE_H_
