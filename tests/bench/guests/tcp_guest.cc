// TCP between two guests, beside `ivmq bench`: the same messages, made and checked alike, each with
// its length in front. Nagle's delay is off.
//
//   tcp_guest serve PORT
//   tcp_guest batched|each|latency ADDRESS PORT BYTES SECONDS
//
// batched: 64 KiB of messages by one system call, the best that a stream can do. each: one call a
// message. latency: one message there and back at a time. Prints what `ivmq bench --json` prints at
// the end, as far as it is the same; exit status 1 where a message was lost, damaged or out of
// order.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "sdk/command/bench_message.h"
#include "sdk/command/latency_histogram.h"

namespace ivmq::bench {
namespace {

using command::BenchCheck;
using command::BenchCounts;
using Clock = std::chrono::steady_clock;

constexpr size_t kBatchBytes = 65536;
constexpr timeval kPatience{30, 0};
constexpr int kTurn = 64;  // messages between two looks at the clock

[[noreturn]] void Fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::generic_category().message(errno));
}

// What a client begins with, and a server ends with. Both sides are the same program.
struct Run {
  uint32_t bytes;
  uint32_t comes_back;  // 1: each message is sent back as it came
};
struct Report {
  BenchCounts counts;
  uint64_t elapsed_ns;  // from the first message to the last
};

// A connection that carries messages. Ends with it.
class Stream {
 public:
  explicit Stream(int fd) : fd_(fd) {
    const int on = 1;
    if (::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0 ||
        ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience) != 0) {
      Fail("setsockopt");
    }
  }
  ~Stream() { ::close(fd_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Makes room for one more message behind those that wait to be sent.
  std::span<std::byte> Add(size_t bytes) {
    const auto length = static_cast<uint32_t>(bytes);
    const size_t at = out_.size();
    out_.resize(at + sizeof length + bytes);
    std::memcpy(out_.data() + at, &length, sizeof length);
    return std::span(out_).subspan(at + sizeof length);
  }
  size_t waiting_bytes() const { return out_.size(); }
  void Flush() {
    SendAll(out_);
    out_.clear();
  }

  template <class T>
  void Send(const T& value) {
    SendAll(std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  T Receive() {
    while (end_ - begin_ < sizeof(T)) ReceiveMore();
    T value;
    std::memcpy(&value, in_.data() + begin_, sizeof(T));
    begin_ += sizeof(T);
    return value;
  }

  // Until the next call of any function that receives. Throws at the end of the stream.
  std::span<const std::byte> Next() {
    for (;;) {
      if (const auto message = NextOfWhatIsThere()) return *message;
      ReceiveMore();
    }
  }
  std::optional<std::span<const std::byte>> NextOfWhatIsThere() {
    uint32_t length = 0;
    if (end_ - begin_ < sizeof length) return std::nullopt;
    std::memcpy(&length, in_.data() + begin_, sizeof length);
    if (length > in_.size() - sizeof length) throw std::runtime_error("a message is too long");
    if (end_ - begin_ < sizeof length + length) return std::nullopt;
    const std::span message(in_.data() + begin_ + sizeof length, length);
    begin_ += sizeof length + length;
    return message;
  }

 private:
  void SendAll(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t some = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (some <= 0) Fail("send");
      bytes = bytes.subspan(static_cast<size_t>(some));
    }
  }
  void ReceiveMore() {
    std::memmove(in_.data(), in_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    const ssize_t some = ::recv(fd_, in_.data() + end_, in_.size() - end_, 0);
    if (some == 0) throw std::runtime_error("the other side has closed");
    if (some < 0) Fail("recv");
    end_ += static_cast<size_t>(some);
  }

  const int fd_;
  std::vector<std::byte> out_;
  std::vector<std::byte> in_ = std::vector<std::byte>(2 * kBatchBytes);
  size_t begin_ = 0;
  size_t end_ = 0;
};

uint64_t NanosecondsSince(Clock::time_point begin) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(Clock::now() - begin).count());
}

// Until the last message.
void SendBack(Stream* client) {
  for (;;) {
    const auto message = client->Next();
    if (command::IsBenchEnd(message)) return;
    std::memcpy(client->Add(message.size()).data(), message.data(), message.size());
    client->Flush();
  }
}

Report TakeAll(Stream* client, size_t bytes) {
  BenchCheck check(bytes);
  auto message = client->Next();
  const auto begin = Clock::now();
  while (check.Look(message) != BenchCheck::Saw::kEnd) message = client->Next();
  return Report{check.counts(), NanosecondsSince(begin)};
}

sockaddr_in Address(const char* text, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::inet_pton(AF_INET, text, &address.sin_addr) != 1) throw std::runtime_error("no address");
  return address;
}

[[noreturn]] void Serve(uint16_t port) {
  const sockaddr_in address = Address("0.0.0.0", port);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 1) != 0) {
    Fail("listen");
  }
  std::printf("serving\n");
  std::fflush(stdout);
  for (;;) {
    const int accepted = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted < 0) Fail("accept");
    Stream client(accepted);
    const auto run = client.Receive<Run>();
    if (run.comes_back != 0) {
      SendBack(&client);
    } else {
      client.Send(TakeAll(&client, run.bytes));
    }
  }
}

class Client {
 public:
  Client(int fd, uint32_t bytes, double seconds)
      : server_(fd), bytes_(bytes), time_(std::chrono::duration<double>(seconds)) {}

  // Both return whether all was as it should be.
  bool Throughput(size_t batch_bytes) {
    server_.Send(Run{bytes_, 0});
    const auto end = Clock::now() + time_;
    uint64_t sent = 0;
    while (Clock::now() < end) {
      for (int i = 0; i < kTurn; ++i) {
        command::FillBenchMessage(sent++, server_.Add(bytes_));
        if (server_.waiting_bytes() >= batch_bytes) server_.Flush();
      }
    }
    SendEnd(sent);
    const auto report = server_.Receive<Report>();
    const double seconds = static_cast<double>(report.elapsed_ns) / 1e9;
    Print(report.counts, seconds, "");
    return report.counts.Good() && report.counts.messages == sent;
  }

  bool Latency() {
    server_.Send(Run{bytes_, 1});
    BenchCheck check(bytes_);
    command::LatencyHistogram times;
    const auto begin = Clock::now();
    uint64_t sent = 0;
    for (auto now = begin; now < begin + time_;) {
      command::FillBenchMessage(sent++, server_.Add(bytes_));
      server_.Flush();
      const auto message = server_.Next();
      const auto then = std::exchange(now, Clock::now());
      if (check.Look(message) == BenchCheck::Saw::kMessage) times.Add(now - then);
    }
    const double seconds = static_cast<double>(NanosecondsSince(begin)) / 1e9;
    SendEnd(sent);
    Print(check.counts(), seconds,
          ",\"p50_ns\":\"" + std::to_string(times.Percentile(0.5).count()) + "\",\"p99_ns\":\"" +
              std::to_string(times.Percentile(0.99).count()) + '"');
    return check.counts().Good() && check.counts().messages == sent;
  }

 private:
  void SendEnd(uint64_t sent) {
    command::FillBenchEnd(sent, server_.Add(command::kBenchEndBytes));
    server_.Flush();
  }
  void Print(const BenchCounts& counts, double seconds, const std::string& more) const {
    const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
    std::printf(
        "{\"size_bytes\":\"%u\",\"seconds\":%.3f,\"messages\":\"%llu\",\"messages_per_second\":%.1f"
        "%s,\"lost\":\"%llu\",\"damaged\":\"%llu\",\"misordered\":\"%llu\",\"total\":true}\n",
        bytes_, seconds, number(counts.messages), static_cast<double>(counts.messages) / seconds,
        more.c_str(), number(counts.lost), number(counts.damaged), number(counts.misordered));
  }

  Stream server_;
  const uint32_t bytes_;
  const std::chrono::duration<double> time_;
};

int Connect(const char* to, uint16_t port) {
  const sockaddr_in address = Address(to, port);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    Fail("connect");
  }
  return fd;
}

template <class T>
T Number(std::string_view text, T least, T most) {
  T number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= least &&
      number <= most) {
    return number;
  }
  throw std::runtime_error("not a number in its range: " + std::string(text));
}

int Main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "serve" && argc == 3) Serve(Number<uint16_t>(argv[2], 1, 65535));
  if (argc != 6 || (what != "batched" && what != "each" && what != "latency")) {
    std::fprintf(stderr,
                 "usage: %s serve PORT\n"
                 "       %s batched|each|latency ADDRESS PORT BYTES SECONDS\n",
                 argv[0], argv[0]);
    return 2;
  }
  const auto bytes = Number<uint32_t>(argv[4], command::kBenchBytesMin, kBatchBytes);
  const auto seconds = Number<double>(argv[5], 0.1, 1000);
  Client client(Connect(argv[2], Number<uint16_t>(argv[3], 1, 65535)), bytes, seconds);
  const bool good =
      what == "latency" ? client.Latency() : client.Throughput(what == "batched" ? kBatchBytes : 0);
  if (!good) std::fprintf(stderr, "messages were lost, damaged or out of order\n");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace ivmq::bench

int main(int argc, char** argv) {
  try {
    return ivmq::bench::Main(argc, argv);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "tcp_guest: %s\n", failure.what());
    return 1;
  }
}
