// A subscriber in an event loop of the application's own, beside other file descriptors.
//
//   own_epoll TOPIC                prints messages until a line comes on stdin, or its end
//
// IVMQ_NODE_SOCKET names the daemon; the usual places are tried without it.

#include <ivmq/ivmq.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdio>

namespace {

constexpr size_t kMessagesPerTurn = 64;  // so that no other descriptor waits for long

void Print(const ivmq::BytesMessage& message) {
  std::printf("%.*s\n", static_cast<int>(message.text().size()), message.text().data());
}

void Watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) std::perror("own_epoll: epoll_ctl");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: own_epoll TOPIC\n");
    return 2;
  }
  auto node = ivmq::Node::Open();
  if (!node.ok()) {
    std::fprintf(stderr, "own_epoll: %s\n", node.status().ToString().c_str());
    return 1;
  }
  auto subscriber = node->CreateSubscriber(argv[1]);
  if (!subscriber.ok()) {
    std::fprintf(stderr, "own_epoll: %s\n", subscriber.status().ToString().c_str());
    return 1;
  }

  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  const int messages = subscriber->fd();
  Watch(epoll, messages);
  Watch(epoll, STDIN_FILENO);
  std::printf("ready\n");
  std::fflush(stdout);
  for (;;) {
    epoll_event event{};
    if (::epoll_wait(epoll, &event, 1, -1) < 1) continue;
    if (event.data.fd == STDIN_FILENO) break;
    auto polled = subscriber->Poll(kMessagesPerTurn, Print);
    std::fflush(stdout);
    if (!polled.ok()) {
      std::fprintf(stderr, "own_epoll: %s\n", polled.status().ToString().c_str());
      return 1;
    }
  }
  ::close(epoll);
  return 0;
}
