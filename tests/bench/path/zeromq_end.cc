// ZeroMQ over ipc: a pair of sockets, which batches by itself.
#include <zmq.h>

#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

class ZeromqEnd {
 public:
  explicit ZeromqEnd(const Meet& meet) {
    static void* const context = zmq_ctx_new();  // one a process, as its guide has it
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
    zmq_msg_t message;
    Require(zmq_msg_init(&message) == 0 && zmq_msg_recv(&message, socket_, 0) >= 0, "zmq_msg_recv");
    expected->Expect(zmq_msg_data(&message), zmq_msg_size(&message));
    zmq_msg_close(&message);
    return 1;
  }

 private:
  void* socket_ = nullptr;
};

}  // namespace

void AddZeromq(std::vector<Contender>* to) {
  to->push_back(ContenderOf<ZeromqEnd>("zeromq", 50'000, 200));
}

}  // namespace ivmq::bench
