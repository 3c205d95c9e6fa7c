// A reply that comes in pieces: the server counts, the client stops it when it has had enough.
//
//   streamed_reply serve SERVICE           counts for whoever asks, until a line comes on stdin
//   streamed_reply ask SERVICE COUNT       prints the first COUNT numbers

#include <ivmq/ivmq.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

namespace {

int Fail(const ivmq::Status& status) {
  std::cerr << status.ToString() << '\n';
  return 1;
}

ivmq::Bytes ToBytes(const std::string& text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  return {bytes, bytes + text.size()};
}

ivmq::Status Count(const ivmq::Bytes& /*query*/, ivmq::ReplyStream<ivmq::Bytes>& stream) {
  for (int i = 0;; ++i) {
    // Waits while the client is slow; fails once it wants no more.
    ivmq::Status status = stream.Write(ToBytes(std::to_string(i)));
    if (!status.ok()) return status;
  }
}

int Serve(ivmq::Node node, const std::string& service) {
  const auto server = node.Serve<ivmq::Bytes, ivmq::Bytes>(service, Count);
  if (!server.ok()) return Fail(server.status());
  std::cout << "serving" << std::endl;
  std::string line;
  std::getline(std::cin, line);
  return 0;
}

int Ask(ivmq::Node node, const std::string& service, int count) {
  auto client = node.CreateClient(service);
  if (!client.ok()) return Fail(client.status());
  auto numbers = client->CallStream(ivmq::Bytes(), std::chrono::minutes(1));
  if (!numbers.ok()) return Fail(numbers.status());
  for (int i = 0; i < count; ++i) {
    const auto next = numbers->Next();
    if (!next.ok()) return Fail(next.status());
    if (!next->has_value()) break;  // the server had no more
    std::cout.write(reinterpret_cast<const char*>((*next)->data()),
                    static_cast<std::streamsize>((*next)->size()));
    std::cout << '\n';
  }
  return 0;  // Dropping `numbers` tells the server.
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[1] : "";
  if (!(what == "serve" && argc == 3) && !(what == "ask" && argc == 4)) {
    std::cerr << "usage: streamed_reply serve SERVICE | ask SERVICE COUNT\n";
    return 2;
  }
  auto node = ivmq::Node::Open();
  if (!node.ok()) return Fail(node.status());
  return what == "serve" ? Serve(*node, argv[2]) : Ask(*node, argv[2], std::atoi(argv[3]));
}
