#include "tests/command/run_command.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

extern char** environ;

namespace ivmq::command {
namespace {

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Finished RunProgram(const std::vector<std::string>& arguments, const std::string& input) {
  std::string directory = "/tmp/ivmq-run.XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) return {};
  const std::string in = directory + "/in";
  const std::string out = directory + "/out";
  const std::string err = directory + "/err";
  std::ofstream(in) << input;

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, in.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT, 0600);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  Finished finished;
  if (::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ) == 0) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    finished.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  posix_spawn_file_actions_destroy(&actions);
  finished.out = Contents(out);
  finished.err = Contents(err);
  std::filesystem::remove_all(directory);
  return finished;
}

}  // namespace

std::vector<std::string> Finished::Lines() const {
  std::istringstream stream(out);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string IvmqPath() { return IVMQ_COMMAND_PATH; }

bool HasEnded(const std::string& pid) {
  std::string number, name, state;
  std::ifstream("/proc/" + pid + "/stat") >> number >> name >> state;
  return state.empty() || state == "Z";
}

Finished RunIvmq(const std::vector<std::string>& arguments, const std::string& input) {
  ::unsetenv("IVMQ_ADMIN_SOCKET");
  ::unsetenv("IVMQ_NODE_SOCKET");
  std::vector<std::string> all{IvmqPath()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return RunProgram(all, input);
}

Finished RunScript(const std::string& script) {
  const std::string folder = std::filesystem::path(IvmqPath()).parent_path();
  return RunProgram({"/bin/bash", "-c", "PATH=" + folder + ":$PATH\n" + script}, "");
}

}  // namespace ivmq::command
