// ZeroMQ over ipc: a pair of sockets, which batches by itself.
#include <zmq.h>

#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

class ZeromqEnd {
 public:
  explicit ZeromqEnd(const Meet& meet) : buffer_(meet.bytes) {
    void* const context = zmq_ctx_new();
    socket_ = zmq_socket(context, ZMQ_PAIR);
    Require(socket_ != nullptr, "zmq_socket");
    const std::string address = "ipc://" + meet.name;
    Require((meet.end == End::kFirst ? zmq_bind(socket_, address.c_str())
                                     : zmq_connect(socket_, address.c_str())) == 0,
            "zmq_bind, zmq_connect");
    // Connected when a message has gone there and back.
    char byte = 0;
    if (meet.end == End::kFirst) {
      Require(zmq_recv(socket_, &byte, 1, 0) == 1 && zmq_send(socket_, &byte, 1, 0) == 1, "greet");
    } else {
      Require(zmq_send(socket_, &byte, 1, 0) == 1 && zmq_recv(socket_, &byte, 1, 0) == 1, "greet");
    }
  }
  void Send(std::span<const std::byte> message, bool /*more*/) {
    Require(zmq_send(socket_, message.data(), message.size(), 0) >= 0, "zmq_send");
  }
  int Receive(Messages* expected, int /*limit*/) {
    const int size = zmq_recv(socket_, buffer_.data(), buffer_.size(), 0);
    Require(size >= 0, "zmq_recv");
    expected->Expect(buffer_.data(), static_cast<size_t>(size));
    return 1;
  }

 private:
  std::vector<std::byte> buffer_;
  void* socket_ = nullptr;
};

}  // namespace

void AddZeromq(std::vector<Contender>* to) {
  to->push_back(ContenderOf<ZeromqEnd>("zeromq", 50'000, 200));
}

}  // namespace ivmq::bench
