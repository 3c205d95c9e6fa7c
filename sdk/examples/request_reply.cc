// Asks a service and serves one: run the server in one process or VM, the client in another.
//
//   request_reply serve SERVICE COUNT      answers COUNT requests in capitals, then ends
//   request_reply ask SERVICE TEXT         prints the reply

#include <ivmq/ivmq.h>

#include <cctype>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

namespace {

int Fail(const ivmq::Status& status) {
  std::cerr << status.ToString() << '\n';
  return 1;
}

ivmq::Result<ivmq::Bytes> Capitals(const ivmq::Bytes& query) {
  if (query.empty()) return ivmq::Status(ivmq::Code::kInvalidArgument, "nothing to say");
  ivmq::Bytes reply = query;
  for (std::byte& byte : reply) {
    byte = static_cast<std::byte>(std::toupper(std::to_integer<unsigned char>(byte)));
  }
  return reply;
}

int Serve(ivmq::Node node, const std::string& service, int count) {
  auto server = node.CreateServer<ivmq::Bytes, ivmq::Bytes>(service, Capitals);
  if (!server.ok()) return Fail(server.status());
  std::cout << "serving" << std::endl;
  for (int i = 0; i < count; ++i) {
    const ivmq::Status status = server->RunOnce(std::chrono::minutes(1));
    if (!status.ok()) return Fail(status);
  }
  return 0;
}

int Ask(ivmq::Node node, const std::string& service, const std::string& text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  const ivmq::Bytes query(bytes, bytes + text.size());
  const auto reply = node.Request<ivmq::Bytes>(service, query);  // 5 s at most
  if (!reply.ok()) return Fail(reply.status());
  std::cout.write(reinterpret_cast<const char*>(reply->data()),
                  static_cast<std::streamsize>(reply->size()));
  std::cout << '\n';
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 4 ? argv[1] : "";
  if (what != "serve" && what != "ask") {
    std::cerr << "usage: request_reply serve SERVICE COUNT | ask SERVICE TEXT\n";
    return 2;
  }
  auto node = ivmq::Node::Open();
  if (!node.ok()) return Fail(node.status());
  return what == "serve" ? Serve(*node, argv[2], std::atoi(argv[3])) : Ask(*node, argv[2], argv[3]);
}
