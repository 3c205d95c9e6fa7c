#ifndef IVMQ_EVENT_H_
#define IVMQ_EVENT_H_

#include <ivmq/export.h>

#include <cstdint>
#include <functional>
#include <string>

namespace ivmq {

// Something that happened to a node or to a publisher, subscriber, client or server of it, other
// than a message.
struct Event {
  enum class Kind {
    kMatched,         // a link was made; of a client and a server: both links
    kIncompatible,    // no link was made: the two do not fit, or there was nonsense in its memory;
                      // the detail says why
    kSuspect,         // the other side shows no sign of life; nothing is taken from it
    kAlive,           // it does again
    kGone,            // the other side closed or died; a subscriber still gets what is left
    kSilent,          // nothing arrived for SubscriberOptions::deadline; once until something does
    kCallbackFailed,  // a callback or handler of the application threw; its message counts as
                      // delivered
    kDaemonLost,      // links that exist go on; new ones need a new node
    kDaemonBack,      // after kDaemonLost or kEvicted: another daemon was started, or a guest's has
                      // found back to its host; a new node can be opened. Only told to the node's
                      // own handler
    kEvicted,         // by an operator, the node or its machine. Nothing new is sent or received;
                      // what was received can still be read. A new node can be opened at once, if
                      // only the node was evicted. Only told to the node's own handler
  };
  Kind kind = Kind::kMatched;
  std::string topic;  // or service: of the link, or of whom it happened to; empty: of the node
  // Of the other side; empty and 0 where there is none.
  std::string node;
  uint32_t peer_id = 0;
  uint64_t link_id = 0;  // of a client and a server: that of the requests
  std::string detail;    // for people
};

// "matched", "incompatible", …; never null.
IVMQ_API const char* EventName(Event::Kind kind);

// Called on the node's own thread, one event after the other, in the order in which they happened.
// Must not block, nor create publishers and subscribers (FAILED_PRECONDITION); may publish and
// close. What it throws is caught and counted (Node::failed_handlers); what happens while 65,536
// events wait is left out and counted (Node::left_out_events). Is not called any more once
// Close or the destructor of whom it belongs to (of a Node: that of its last copy), or Node::Close,
// has returned; a publisher that outlives its Node goes on telling its own handler. Inside a
// handler or callback of the node these do not wait, because two that waited for each other would
// do so for ever: then a call that is under way on another thread may go on, and is the last.
using EventHandler = std::function<void(const Event&)>;

}  // namespace ivmq

#endif  // IVMQ_EVENT_H_
