#ifndef IVMQ_OPTIONS_H_
#define IVMQ_OPTIONS_H_

#include <ivmq/event.h>
#include <ivmq/message.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ivmq {

// How a thread that waits for messages or room spends the first microseconds.
enum class Wait {
  kAdaptive,  // spins for about the cost of a wake-up when that paid before, leaving the CPU to
              // others that wait for it, then sleeps
  kBlock,     // sleeps at once: least CPU
  kSpin,      // never sleeps: least latency, a whole core
};

// What happens where a link has no room: a publisher offers one, a subscriber asks for one, and the
// link between the two gets what docs/messaging.md says for the pair.
class Reliability {
 public:
  enum class Kind : uint8_t { kBlock, kFail, kReliable, kAsOffered, kDropNewest, kKeepLast };

  Kind kind() const { return kind_; }
  // Of Block(): how long Publish waits.
  std::chrono::nanoseconds deadline() const { return deadline_; }
  // Of KeepLast(): messages.
  uint32_t depth() const { return depth_; }

 private:
  friend constexpr Reliability Block(std::chrono::nanoseconds deadline);
  friend constexpr Reliability Fail();
  friend constexpr Reliability Reliable();
  friend constexpr Reliability AsOffered();
  friend constexpr Reliability DropNewest();
  friend constexpr Reliability KeepLast(uint32_t messages);
  constexpr explicit Reliability(Kind kind, std::chrono::nanoseconds deadline = {},
                                 uint32_t depth = 0)
      : deadline_(deadline), depth_(depth), kind_(kind) {}

  std::chrono::nanoseconds deadline_;
  uint32_t depth_;
  Kind kind_;
};

// Publisher: Publish waits until every reliable link has room, for at most `deadline`; then it
// fails with FULL and has written to none. Never waits inside a handler of the same node.
// Subscriber: as Reliable().
constexpr Reliability Block(std::chrono::nanoseconds deadline) {
  return Reliability(Reliability::Kind::kBlock, deadline);
}
// Publisher: Publish fails with FULL at once. Subscriber: as Reliable().
constexpr Reliability Fail() { return Reliability(Reliability::Kind::kFail); }
// Subscriber only: nothing is lost while both sides live. Fits publishers that Block or Fail.
constexpr Reliability Reliable() { return Reliability(Reliability::Kind::kReliable); }
// Subscriber only: whatever each publisher offers.
constexpr Reliability AsOffered() { return Reliability(Reliability::Kind::kAsOffered); }
// What finds no room is dropped and counted; the publisher never waits.
constexpr Reliability DropNewest() { return Reliability(Reliability::Kind::kDropNewest); }
// The link holds the last `messages` (1 to 65,536) and overwrites older ones, which are counted;
// the publisher never waits, however slow, paused or dead the subscriber is.
constexpr Reliability KeepLast(uint32_t messages) {
  return Reliability(Reliability::Kind::kKeepLast, {}, messages);
}

// Publisher: it keeps its last `messages` (up to 65,536) in its own memory. Subscriber: it gets as
// many of them as there are, and as its ring holds, before the first live message of that
// publisher: in order, nothing twice, nothing left out in between.
class History {
 public:
  constexpr History() = default;
  constexpr explicit History(uint32_t messages) : messages_(messages) {}
  uint32_t messages() const { return messages_; }

 private:
  uint32_t messages_ = 0;
};

struct NodeOptions {
  // Names the process to people: 1 to 63 bytes of printable UTF-8. Empty: the program's name and
  // PID.
  std::string name = {};
  // The daemon's node socket. Empty: $IVMQ_NODE_SOCKET, else /run/ivmq/node.sock, else
  // $XDG_RUNTIME_DIR/ivmq/node.sock (the latter first unless root); the first that exists.
  std::string socket_path = {};
  // How long Open and every Create may take; CreateSubscriber then waits for publishers, for
  // SubscriberOptions::join_timeout at most.
  std::chrono::nanoseconds timeout = std::chrono::seconds(5);
  // Hears of everything: of the daemon, and of all publishers and subscribers of the node.
  EventHandler on_event = {};
};

// The largest description of types that a realm keeps.
inline constexpr size_t kMaxDescriptorBytes = 262144;

struct PublisherOptions {
  // Block, Fail, DropNewest or KeepLast.
  Reliability reliability = Block(std::chrono::seconds(1));
  // Data bytes of each link's ring: power of two, 4 KiB to 16 MiB; 0: 64 KiB, or what
  // max_message_bytes needs. A subscriber that asks for more gets a larger ring.
  size_t ring_bytes = 0;
  // The largest message, its attributes and timestamp included: at most an eighth of the ring;
  // 0: an eighth of the ring. What a link that keeps the last n takes is n times this.
  size_t max_message_bytes = 0;
  // Messages kept for subscribers that come late and ask for them.
  History history = {};
  Wait wait = Wait::kAdaptive;
  // Every message says when it was published: 24 bytes and a look at the clock each.
  bool timestamps = false;
  // Serialized google.protobuf.FileDescriptorSet with the type and all it needs, for tools that
  // print messages: at most kMaxDescriptorBytes, else INVALID_ARGUMENT. Filled in by
  // CreatePublisher<T> where the codec knows it and it is not larger; tools then say that nobody
  // has described the type, and print bytes.
  std::string descriptors = {};
  // Hears of its links.
  EventHandler on_event = {};
};

// What goes with one message besides its bytes.
struct PublishOptions {
  // At most 64, of 4 KiB in all.
  std::span<const Attribute> attributes = {};
  // W3C trace context, as "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01". Empty: none.
  std::string_view traceparent = {};
};

// Runs tasks, now or later, on whatever thread. A task that is thrown away is never run. A
// subscriber or client whose executor throws, or throws a task away, tells so as kCallbackFailed
// and asks it again after 10 ms, then after longer and longer, up to 10 s; nothing is lost by that.
// It may be called until Close or the destructor of whom it belongs to has returned, which waits
// for a call that is under way, so it must not wait for the thread that closes. Inside a handler or
// callback of the node these do not wait: a call that is under way then is the last.
using Executor = std::function<void(std::function<void()>)>;

struct SubscriberOptions {
  // Anything but what is said to be for publishers only. Unset: AsOffered(); of a filter (`*`, `>`)
  // KeepLast(16), so that who listens to everything slows nobody down.
  std::optional<Reliability> reliability = {};
  // Data bytes of each link's ring, at least: power of two, 4 KiB to 16 MiB; 0: what the publisher
  // chose. Smaller than that has no effect.
  size_t ring_bytes = 0;
  // Of each publisher's last messages; FAILED_PRECONDITION where one keeps none.
  History history = {};
  Wait wait = Wait::kAdaptive;
  // CreateSubscriber returns when every publisher of the topic has attached, or after this long
  // with DEADLINE_EXCEEDED naming those that have not. Zero: does not wait for them.
  std::chrono::nanoseconds join_timeout = std::chrono::seconds(5);
  // Hears of its links.
  EventHandler on_event = {};
  // kSilent is told where a link brings nothing for this long, and up to half as long again. Zero:
  // never.
  std::chrono::nanoseconds deadline = {};
  // Is given every message as it comes, one after the other, instead of Receive and Poll. What it
  // throws is told as kCallbackFailed, and its message counts as delivered. It runs where the
  // executor runs it, or, without one, on the one thread that all callbacks of the node share.
  // Neither is called once Close or the destructor has returned; inside a handler or callback of
  // the node these do not wait, and what is under way on another thread goes on.
  std::function<void(const BytesMessage&)> on_message = {};
  Executor executor = {};
};

}  // namespace ivmq

#endif  // IVMQ_OPTIONS_H_
