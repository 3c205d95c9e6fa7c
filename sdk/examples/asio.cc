// A subscriber in an event loop of Asio, beside signals.
//
//   asio TOPIC                     prints messages until SIGINT (Ctrl-C) or SIGTERM, then how many
//
// Boost's Asio here; with the standalone one only the names differ. IVMQ_NODE_SOCKET names the
// daemon; the usual places are tried without it.

#include <ivmq/ivmq.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <iostream>

namespace {

namespace asio = boost::asio;

constexpr size_t kMessagesPerTurn = 64;  // so that no other handler waits for long

// Reads in the thread that runs the loop.
class Reader {
 public:
  Reader(asio::io_context* loop, ivmq::BytesSubscriber* subscriber)
      : loop_(loop), subscriber_(subscriber), messages_(*loop, subscriber->fd()) {}
  // The descriptor is the subscriber's: Asio must not close it.
  ~Reader() { messages_.release(); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void Await() {
    messages_.async_wait(asio::posix::stream_descriptor::wait_read,
                         [this](const boost::system::error_code& error) {
                           if (!error) Read();
                         });
  }
  size_t count() const { return count_; }
  bool failed() const { return failed_; }

 private:
  void Read() {
    const auto polled =
        subscriber_->Poll(kMessagesPerTurn, [this](const ivmq::BytesMessage& message) {
          std::cout << message.text() << '\n';
          ++count_;
        });
    std::cout.flush();
    if (!polled.ok()) {
      std::cerr << "asio: " << polled.status().ToString() << '\n';
      failed_ = true;
      return loop_->stop();
    }
    Await();  // is there at once where messages are left
  }

  asio::io_context* const loop_;
  ivmq::BytesSubscriber* const subscriber_;
  asio::posix::stream_descriptor messages_;
  size_t count_ = 0;
  bool failed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: asio TOPIC\n";
    return 2;
  }
  asio::io_context loop;
  asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&loop](const boost::system::error_code&, int) { loop.stop(); });

  auto node = ivmq::Node::Open();
  if (!node.ok()) {
    std::cerr << "asio: " << node.status().ToString() << '\n';
    return 1;
  }
  auto subscriber = node->CreateSubscriber(argv[1]);
  if (!subscriber.ok()) {
    std::cerr << "asio: " << subscriber.status().ToString() << '\n';
    return 1;
  }
  Reader reader(&loop, &subscriber.value());
  reader.Await();
  std::cout << "ready" << std::endl;
  loop.run();
  std::cout << reader.count() << " messages" << std::endl;
  return reader.failed() ? 1 : 0;
}
