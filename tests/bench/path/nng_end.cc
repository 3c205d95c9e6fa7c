// nng over ipc: a pair of sockets, without buffers, its default, and with.
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

#include <thread>

#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

template <bool kBuffered>
class NngEnd {
 public:
  explicit NngEnd(const Meet& meet) {
    Require(nng_pair0_open(&socket_) == 0, "nng_pair0_open");
    // Without, each message waits until the one before it has been taken.
    if (kBuffered) {
      Require(nng_socket_set_int(socket_, NNG_OPT_SENDBUF, kMessages) == 0 &&
                  nng_socket_set_int(socket_, NNG_OPT_RECVBUF, kMessages) == 0,
              "buffers");
    }
    const std::string address = "ipc://" + meet.name;
    if (meet.end == End::kFirst) {
      Require(nng_listen(socket_, address.c_str(), nullptr, 0) == 0, "nng_listen");
    } else {
      while (nng_dial(socket_, address.c_str(), nullptr, 0) != 0) std::this_thread::yield();
    }
    uint64_t greeting = 0;
    size_t size = sizeof greeting;
    const auto receive = [&] { return nng_recv(socket_, &greeting, &size, 0) == 0; };
    const auto send = [&] { return nng_send(socket_, &greeting, sizeof greeting, 0) == 0; };
    Require(meet.end == End::kFirst ? receive() && send() : send() && receive(), "greet");
  }
  void Send(std::span<const std::byte> message, bool /*more*/) {
    // It takes what it is given as its own to change, and changes nothing without NNG_FLAG_ALLOC.
    Require(nng_send(socket_, const_cast<std::byte*>(message.data()), message.size(), 0) == 0,
            "nng_send");
  }
  int Receive(Messages* expected, int /*limit*/) {
    nng_msg* message = nullptr;
    Require(nng_recvmsg(socket_, &message, 0) == 0, "nng_recvmsg");
    expected->Expect(nng_msg_body(message), nng_msg_len(message));
    nng_msg_free(message);
    return 1;
  }

 private:
  static constexpr int kMessages = 128;
  nng_socket socket_{};
};

}  // namespace

void AddNng(std::vector<Contender>* to) {
  to->push_back(ContenderOf<NngEnd<false>>("nng", 5'000, 200));
  to->push_back(ContenderOf<NngEnd<true>>("nng_buffered", 10'000, 0));
}

}  // namespace ivmq::bench
