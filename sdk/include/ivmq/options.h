#ifndef IVMQ_OPTIONS_H_
#define IVMQ_OPTIONS_H_

#include <chrono>
#include <cstddef>
#include <string>

namespace ivmq {

// How a thread that waits for messages or room spends the first microseconds.
enum class Wait {
  kAdaptive,  // spins for about the cost of a wake-up when that paid before, then sleeps
  kBlock,     // sleeps at once: least CPU
  kSpin,      // never sleeps: least latency, a whole core
};

// What a publisher does when a link has no room.
class Reliability {
 public:
  // Waits up to this long; zero fails at once.
  std::chrono::nanoseconds deadline() const { return deadline_; }

 private:
  friend constexpr Reliability Block(std::chrono::nanoseconds deadline);
  friend constexpr Reliability Fail();
  constexpr explicit Reliability(std::chrono::nanoseconds deadline) : deadline_(deadline) {}
  std::chrono::nanoseconds deadline_;
};

// Publish waits until every link has room, for at most `deadline`; then it fails with FULL and has
// written to none. Never waits inside a handler of the same node.
constexpr Reliability Block(std::chrono::nanoseconds deadline) { return Reliability(deadline); }
// Publish fails with FULL at once.
constexpr Reliability Fail() { return Reliability(std::chrono::nanoseconds(0)); }

struct NodeOptions {
  // Names the process to people: 1 to 63 bytes of printable UTF-8. Empty: the program's name and
  // PID.
  std::string name = {};
  // The daemon's node socket. Empty: $IVMQ_NODE_SOCKET, else /run/ivmq/node.sock, else
  // $XDG_RUNTIME_DIR/ivmq/node.sock (the latter first unless root); the first that exists.
  std::string socket_path = {};
  // How long Open and every Create may take.
  std::chrono::nanoseconds timeout = std::chrono::seconds(5);
};

struct PublisherOptions {
  Reliability reliability = Block(std::chrono::seconds(1));
  // Data bytes of each link's ring: power of two, 4 KiB to 16 MiB; 0: 64 KiB. A subscriber that
  // asks for more gets a larger ring. The largest message is an eighth of what is set here,
  // whoever subscribes.
  size_t ring_bytes = 0;
  Wait wait = Wait::kAdaptive;
};

struct SubscriberOptions {
  // Data bytes of each link's ring, at least: power of two, 4 KiB to 16 MiB; 0: what the publisher
  // chose. Smaller than that has no effect.
  size_t ring_bytes = 0;
  Wait wait = Wait::kAdaptive;
  // CreateSubscriber returns when every publisher of the topic has attached, or after this long
  // with DEADLINE_EXCEEDED naming those that have not. Zero: does not wait for them.
  std::chrono::nanoseconds join_timeout = std::chrono::seconds(5);
};

}  // namespace ivmq

#endif  // IVMQ_OPTIONS_H_
