// UNIX seqpacket sockets, a system call a message (sendmmsg gained nothing), and TCP over loopback
// with Nagle's delay off and a length in front of each message: up to 32 of them a system call
// where more come at once, or 64 KiB (tcp_batched). Each waits in the kernel, or keeps asking it
// (_spin).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <thread>

#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

void WaitForFile(const std::string& path) {
  struct stat ignored;
  while (::stat(path.c_str(), &ignored) != 0) std::this_thread::yield();
}

template <bool kSpins>
constexpr int kFlags = kSpins ? MSG_DONTWAIT : 0;

// A call that receives, made again as long as there is nothing if it does not wait by itself.
template <bool kSpins, class Call>
auto Again(Call call) {
  for (;;) {
    const auto result = call();
    if (!kSpins || result >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return result;
  }
}

template <bool kSpins>
class SeqpacketEnd {
 public:
  explicit SeqpacketEnd(const Meet& meet) : buffer_(meet.bytes) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    Require(meet.name.size() < sizeof address.sun_path, "path too long");
    std::memcpy(address.sun_path, meet.name.c_str(), meet.name.size() + 1);
    const auto* const name = reinterpret_cast<const sockaddr*>(&address);
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (meet.end == End::kFirst) {
      Require(::bind(fd, name, sizeof address) == 0 && ::listen(fd, 1) == 0, "listen");
      fd_ = ::accept(fd, nullptr, nullptr);
      ::unlink(meet.name.c_str());
    } else {
      fd_ = fd;
      while (::connect(fd, name, sizeof address) != 0) std::this_thread::yield();
    }
    Require(fd_ >= 0, "accept");
  }
  void Send(std::span<const std::byte> message, bool /*more*/) {
    Require(::send(fd_, message.data(), message.size(), 0) > 0, "send");
  }
  int Receive(Messages* expected, int /*limit*/) {
    const ssize_t size =
        Again<kSpins>([&] { return ::recv(fd_, buffer_.data(), buffer_.size(), kFlags<kSpins>); });
    Require(size > 0, "recv");
    expected->Expect(buffer_.data(), static_cast<size_t>(size));
    return 1;
  }

 private:
  std::vector<std::byte> buffer_;
  int fd_ = -1;
};

// Keeps up to `kMessages` back, and no more than 64 KiB.
template <bool kSpins, int kMessages>
class TcpEnd {
 public:
  explicit TcpEnd(const Meet& meet)
      : out_(kWritten + sizeof(uint32_t) + meet.bytes), in_(kWritten) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (meet.end == End::kFirst) {
      Require(::bind(fd, name, size) == 0 && ::listen(fd, 1) == 0, "listen");
      Require(::getsockname(fd, name, &size) == 0, "getsockname");
      // Whole at once: the other end looks for it.
      std::ofstream(meet.name + ".new") << ntohs(address.sin_port);
      Require(::rename((meet.name + ".new").c_str(), meet.name.c_str()) == 0, "rename");
      fd_ = ::accept(fd, nullptr, nullptr);
      ::unlink(meet.name.c_str());
    } else {
      WaitForFile(meet.name);
      uint16_t port = 0;
      std::ifstream(meet.name) >> port;
      address.sin_port = htons(port);
      fd_ = fd;
      Require(::connect(fd, name, size) == 0, "connect");
    }
    const int on = 1;
    Require(::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0, "nodelay");
  }
  void Send(std::span<const std::byte> message, bool more) {
    const auto length = static_cast<uint32_t>(message.size());
    std::memcpy(out_.data() + kept_, &length, sizeof length);
    std::memcpy(out_.data() + kept_ + sizeof length, message.data(), length);
    kept_ += sizeof length + length;
    if (more && kept_ < kWritten && ++kept_messages_ < kMessages) return;
    kept_messages_ = 0;
    for (size_t sent = 0; sent < kept_;) {
      const ssize_t some = ::send(fd_, out_.data() + sent, kept_ - sent, 0);
      Require(some > 0, "send");
      sent += static_cast<size_t>(some);
    }
    kept_ = 0;
  }
  // As a reader of streams does it: as many bytes as are there, then message after message.
  int Receive(Messages* expected, int limit) {
    int count = 0;
    while (count == 0) {
      uint32_t length = 0;
      while (count < limit && end_ - begin_ >= sizeof length) {
        std::memcpy(&length, in_.data() + begin_, sizeof length);
        if (end_ - begin_ < sizeof length + length) break;
        expected->Expect(in_.data() + begin_ + sizeof length, length);
        begin_ += sizeof length + length;
        ++count;
      }
      if (count > 0) break;
      std::memmove(in_.data(), in_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
      const ssize_t some = Again<kSpins>(
          [&] { return ::recv(fd_, in_.data() + end_, in_.size() - end_, kFlags<kSpins>); });
      Require(some > 0, "recv");
      end_ += static_cast<size_t>(some);
    }
    return count;
  }

 private:
  static constexpr size_t kWritten = 65536;  // bytes at once

  std::vector<std::byte> out_;
  std::vector<std::byte> in_;
  size_t kept_ = 0;  // in out_
  int kept_messages_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  int fd_ = -1;
};

}  // namespace

void AddSockets(std::vector<Contender>* to) {
  constexpr int kBatch = 32;  // as ivmq's
  constexpr int kAny = 1 << 30;
  to->push_back(ContenderOf<SeqpacketEnd<false>>("seqpacket", 20'000, 500));
  to->push_back(ContenderOf<TcpEnd<false, kBatch>>("tcp", 100'000, 500));
  to->push_back(ContenderOf<TcpEnd<false, kAny>>("tcp_batched", 200'000, 0));
  for (const Contender& spins : {ContenderOf<SeqpacketEnd<true>>("seqpacket_spin", 0, 2'000),
                                 ContenderOf<TcpEnd<true, kBatch>>("tcp_spin", 0, 2'000)}) {
    to->push_back(spins);
    to->back().spins = true;
  }
}

}  // namespace ivmq::bench
