// The command line of ivmq-agent, as a user meets it.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace ivmq::agent {
namespace {

struct Finished {
  int exit_code = -1;
  std::string said;  // on stdout and stderr
};

Finished RunAgent(const std::string& arguments) {
  Finished finished;
  std::FILE* pipe = ::popen((IVMQ_AGENT_PATH " " + arguments + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return finished;
  for (int c; (c = std::fgetc(pipe)) != EOF;) finished.said.push_back(static_cast<char>(c));
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) finished.exit_code = WEXITSTATUS(status);
  return finished;
}

TEST(FlagsTest, MistakesAreExplainedByWhatWasGivenAndWhatIsAllowed) {
  const std::string help = "; see `ivmq-agent --help`\n";
  const std::vector<std::pair<std::string, std::string>> mistakes = {
      {"--device usb:1",
       "--device: 'usb:1' is not auto, vfio:BDF or pci:BDF (BDF like 0000:00:02.0)"},
      {"--log-level loud", "--log-level: 'loud' is not debug, info, warning or error"},
      {"--node-socket ''", "--node-socket: the path is empty"},
      {"--socket-mode 999", "--socket-mode: '999' must be an octal mode up to 0777"},
      {"--socket-mode 1777", "--socket-mode: '1777' must be an octal mode up to 0777"},
      {"--socket-group no-such-group", "--socket-group: 'no-such-group': no such group"},
      {"--no-such-flag", "The following argument was not expected: --no-such-flag"},
      {"now", "The following argument was not expected: now"},
      {"--device", "--device: 1 required TEXT missing"},
  };
  for (const auto& [arguments, why] : mistakes) {
    const Finished finished = RunAgent(arguments);
    EXPECT_EQ(finished.exit_code, 2) << arguments;
    EXPECT_EQ(finished.said, "ivmq-agent: " + why + help);
  }
}

TEST(FlagsTest, HelpAndVersionAreNoMistakes) {
  const Finished help = RunAgent("--help");
  EXPECT_EQ(help.exit_code, 0);
  for (const char* flag : {"--device", "--bind", "--node-socket", "--socket-mode", "0666",
                           "--socket-group", "--log-level"}) {
    EXPECT_NE(help.said.find(flag), std::string::npos) << flag;
  }
  const Finished version = RunAgent("--version");
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.said.rfind("ivmq-agent ", 0), 0U) << version.said;
}

}  // namespace
}  // namespace ivmq::agent
