// Requests of the SDK: one client, and a server that answers on the thread that measures.
#include <algorithm>
#include <optional>
#include <thread>

#include "ivmq/ivmq.h"
#include "tests/bench/path/channel.h"
#include "tests/bench/path/must.h"

namespace ivmq::bench {
namespace {

constexpr int kRequests = 10'000;  // see kMessages of ivmq_end.cc

template <Wait kWait>
class IvmqRequester : public Requester {
 public:
  explicit IvmqRequester(const Meet& meet)
      : messages_(meet.bytes),
        node_(Must(Node::Open({.name = meet.end == End::kFirst ? "client" : "server"}))) {
    const std::string service = "bench." + meet.name;
    if (meet.end == End::kFirst) {
      ClientOptions options;
      options.wait = kWait;
      client_.emplace(Must(node_.CreateClient(service, options)));
      Must(client_->WaitForServers(1, kLong));
      return;
    }
    ServerOptions options;
    options.wait = kWait;
    const auto answer = [this](BytesServerCall& call) {
      messages_.Expect(call.query().data(), call.query().size());
      return call.Reply(messages_.NextToSend());
    };
    server_.emplace(Must(node_.CreateBytesServer(service, "", "", answer, options)));
    while (server_->clients() == 0) std::this_thread::yield();
  }
  void ToAndFro(int trips) override {
    for (int i = 0; i < trips; ++i) {
      const auto query = messages_.NextToSend();
      Must(client_->Call(
          query.size(),
          [query](std::span<std::byte> out) {
            std::copy(query.begin(), query.end(), out.begin());
            return true;
          },
          kLong,
          [this](std::span<const std::byte> reply) {
            messages_.Expect(reply.data(), reply.size());
            return Status();
          }));
    }
  }
  void FroAndTo(int trips) override {
    for (int i = 0; i < trips; ++i) Must(server_->RunOnce(kLong));
  }

 private:
  Messages messages_;
  Node node_;
  std::optional<BytesClient> client_;
  std::optional<BytesServer> server_;
};

template <Wait kWait>
Contender ContenderWaiting(std::string name, int trips) {
  return {std::move(name), 0, trips,
          [](const Meet& meet) { return std::make_unique<IvmqRequester<kWait>>(meet); }};
}

}  // namespace

void AddIvmqRequest(std::vector<Contender>* to) {
  to->push_back(ContenderWaiting<Wait::kSpin>("ivmq", kRequests));
  to->push_back(ContenderWaiting<Wait::kAdaptive>("ivmq_adaptive", kRequests));
  to->push_back(ContenderWaiting<Wait::kBlock>("ivmq_block", 500));
}

}  // namespace ivmq::bench
