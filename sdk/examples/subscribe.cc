// Prints the messages of a topic as text, one a line, and their attributes on the standard error.
//
//   subscribe TOPIC [COUNT]        ends after COUNT messages, or when the publishers are gone
//
// IVMQ_NODE_SOCKET names the daemon; the usual places are tried without it.

#include <ivmq/ivmq.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

int main(int argc, char** argv) {
  using std::chrono_literals::operator""s;

  if (argc < 2) {
    std::fprintf(stderr, "usage: subscribe TOPIC [COUNT]\n");
    return 2;
  }
  const long count = argc > 2 ? std::strtol(argv[2], nullptr, 10) : -1;

  auto node = ivmq::Node::Open();
  if (!node.ok()) {
    std::fprintf(stderr, "subscribe: %s\n", node.status().ToString().c_str());
    return 1;
  }
  auto subscriber = node->CreateSubscriber(argv[1]);
  if (!subscriber.ok()) {
    std::fprintf(stderr, "subscribe: %s\n", subscriber.status().ToString().c_str());
    return 1;
  }
  // Whoever reads a pipe wants each line as it comes, too.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  for (long i = 0; i != count;) {
    auto got = subscriber->Receive(10s);
    if (got.ok()) {
      std::printf("%.*s\n", static_cast<int>(got->text().size()), got->text().data());
      for (const ivmq::Attribute& attribute : got->info.attributes()) {
        std::fprintf(stderr, "  %s: %s\n", std::string(attribute.key).c_str(),
                     std::string(attribute.value).c_str());
      }
      ++i;
    } else if (got.status().code() != ivmq::Code::kTimeout || subscriber->publishers() == 0) {
      std::fprintf(stderr, "subscribe: %s\n", got.status().ToString().c_str());
      return 1;
    }
  }
  return 0;
}
