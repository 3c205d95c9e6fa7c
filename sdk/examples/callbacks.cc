// A subscriber with a callback instead of a loop, and what else there is to hear of.
//
//   callbacks TOPIC                prints messages until a line comes on stdin, or its end
//
// The callback runs on the thread `ivmq-callback` that all callbacks of the node share; for another
// one set SubscriberOptions::executor. What it throws ends neither the thread nor the program: it
// is told as an event. IVMQ_NODE_SOCKET names the daemon; the usual places are tried without it.

#include <ivmq/ivmq.h>

#include <iostream>
#include <mutex>
#include <stdexcept>
#include <string>

namespace {

// Messages and events come on two threads, and both print.
std::mutex printing;

void Print(const std::string& line) {
  const std::lock_guard lock(printing);
  std::cout << line << std::endl;
}

void OnMessage(const ivmq::BytesMessage& message) {
  if (message.text().empty()) throw std::invalid_argument("an empty message");
  Print(std::string(message.info.topic) + ": " + std::string(message.text()));
}

void OnEvent(const ivmq::Event& event) {
  std::string line = std::string("(") + ivmq::EventName(event.kind);
  if (!event.node.empty()) line += " " + event.node;
  if (!event.detail.empty()) line += ": " + event.detail;
  Print(line + ")");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: callbacks TOPIC\n";
    return 2;
  }
  auto node = ivmq::Node::Open();
  if (!node.ok()) {
    std::cerr << "callbacks: " << node.status().ToString() << '\n';
    return 1;
  }
  ivmq::SubscriberOptions options;
  options.on_message = OnMessage;
  options.on_event = OnEvent;
  // From now on both may be called; no more once `subscriber` is gone.
  const auto subscriber = node->CreateSubscriber(argv[1], options);
  if (!subscriber.ok()) {
    std::cerr << "callbacks: " << subscriber.status().ToString() << '\n';
    return 1;
  }
  Print("ready");
  std::string line;
  std::getline(std::cin, line);
  return 0;
}
