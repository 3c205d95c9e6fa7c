// One sender and several receivers, each a process of its own. Receivers share a core, so they are
// preempted; the time is that until the last has answered.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <new>

#include "tests/bench/path/channel.h"
#include "tests/bench/two_cores.h"

namespace ivmq::bench {
namespace {

struct Start {
  std::atomic<int> opened;
  std::atomic<int> ready;
  std::atomic<bool> go;
  std::atomic<bool> over;  // some libraries send what was written only if the process lives on
};

// Untimed, as many as make each see its memory for the first time.
int Before(const Contender& contender) { return contender.messages / 4; }

void SendToAll(const std::vector<Channel*>& channels, int messages, int answers_each) {
  for (int i = 1; i <= messages; ++i) {
    for (Channel* channel : channels) channel->SendOne(i < messages);
  }
  for (Channel* channel : channels) channel->AwaitAnswers(answers_each);
}

[[noreturn]] void Receive(const Contender& contender, const Meet& meet, Start* start) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Channel* const channel = contender.open(meet).release();
  PinToCore(1);
  start->opened.fetch_add(1);
  channel->ReceiveAll(Before(contender));
  start->ready.fetch_add(1);
  while (!start->go.load()) ::usleep(100);
  channel->ReceiveAll(contender.messages);
  while (!start->over.load()) ::usleep(100);
  ::_exit(0);
}

}  // namespace

std::optional<double> FanOutNs(const Contender& contender, const std::string& place, size_t bytes,
                               int receivers) {
  SharedFile file(sizeof(Start));
  auto* const start = new (file.Map()) Start{};
  const auto place_of = [&](int receiver) {
    return contender.one_to_many ? place : place + "." + std::to_string(receiver);
  };
  std::vector<pid_t> children;
  children.reserve(static_cast<size_t>(receivers));
  for (int i = 0; i < receivers; ++i) {
    const pid_t child = ::fork();
    Require(child >= 0, "fork");
    if (child == 0) Receive(contender, {End::kFirst, place_of(i), bytes, receivers}, start);
    children.push_back(child);
  }
  // Live until the process ends, as all ends do.
  std::vector<Channel*> channels;
  const int ends = contender.one_to_many ? 1 : receivers;
  channels.reserve(static_cast<size_t>(ends));
  for (int i = 0; i < ends; ++i) {
    channels.push_back(contender.open({End::kSecond, place_of(i), bytes, receivers}).release());
  }
  PinToCore(0);
  while (start->opened.load() < receivers) ::usleep(100);
  SendToAll(channels, Before(contender), receivers / ends);
  while (start->ready.load() < receivers) ::usleep(100);
  start->go.store(true);
  const auto begin = std::chrono::steady_clock::now();
  SendToAll(channels, contender.messages, receivers / ends);
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  start->over.store(true);
  for (const pid_t child : children) {
    int status = 0;
    Require(::waitpid(child, &status, 0) == child && status == 0, "a receiver failed");
  }
  return took.count() / contender.messages;
}

}  // namespace ivmq::bench
