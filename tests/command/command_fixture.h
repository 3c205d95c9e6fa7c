#ifndef IVMQ_TESTS_COMMAND_COMMAND_FIXTURE_H_
#define IVMQ_TESTS_COMMAND_COMMAND_FIXTURE_H_

#include <gtest/gtest.h>
#include <ivmq/ivmq.h>

#include <chrono>
#include <string>
#include <vector>

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
  Node Open(const std::string& name) const {
    return Node::Open({.name = name, .socket_path = daemon_.node_socket(), .timeout = kPatience})
        .value();
  }

  test::Daemon daemon_;
};

}  // namespace ivmq::command

#endif  // IVMQ_TESTS_COMMAND_COMMAND_FIXTURE_H_
