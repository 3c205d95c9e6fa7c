#ifndef IVMQ_TRANSPORT_STREAM_H_
#define IVMQ_TRANSPORT_STREAM_H_

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transport/device.h"
#include "transport/doorbell.h"
#include "transport/link_reader.h"
#include "transport/link_writer.h"
#include "transport/region_layout.h"
#include "transport/status.h"
#include "transport/unique_fd.h"
#include "transport/waiter.h"

namespace ivmq::transport {

// Where the stream of a peer lies: two rings of the same size between the peer's agent and
// control. Offsets from the region's first byte.
struct StreamPlaces {
  uint64_t to_control_ring_offset = 0;
  uint64_t to_agent_ring_offset = 0;
  uint64_t ring_bytes = 0;  // data capacity of each ring
  uint64_t agent_wake_offset = 0;
  uint64_t control_wake_offset = 0;
  uint64_t to_control_ready_offset = 0;  // wakes control for reading
  uint64_t to_control_space_offset = 0;  // wakes the agent for space
  uint64_t to_agent_ready_offset = 0;    // wakes the agent for reading
  uint64_t to_agent_space_offset = 0;    // wakes control for space
};

// Loads each place from the entry once; they are as hostile as everything there until OpenStream()
// has checked them. REQUIRES: accepted_hello was loaded (acquire) and is our hello.
StreamPlaces LoadStreamPlaces(const PeerEntry& entry);
// Control: writes the places. accepted_hello must be stored (release) after this.
void StoreStreamPlaces(const StreamPlaces& places, PeerEntry* entry);

enum class StreamSide { kControl, kAgent };

// Both directions of a stream, as one side has them.
struct StreamLinks {
  LinkWriter out;
  LinkReader in;
};

struct StreamOptions {
  StreamSide side = StreamSide::kAgent;
  uint64_t stream_id = 0;    // both links carry it as their id: the peer's ID
  bool other_polls = false;  // control's side: the agent takes no interrupts
};

// Checks all of `places` and opens both links. `other` rings the other side. Errors as
// LinkWriter::Open(). REQUIRES: the rings are fresh (ringbuf::InitializeRing) and nobody opened
// this side of them before.
Result<StreamLinks> OpenStream(std::shared_ptr<Device> device, const StreamPlaces& places,
                               const StreamOptions& options, const Doorbell& other);

// Moves bytes between a local socket (the far end of a socketpair, whose near end gRPC has) and a
// stream, both ways, with back-pressure both ways. A half-close passes through: when one end's
// application closes, the other's socket reads EOF.
//
// Driven by an owner's loop; StreamLoop is one. Never blocks; each call moves a bounded amount.
//
//   epoll_ctl(ADD, pump.fd(), StreamPump::kEpollEvents)    once
//   pump.OnSocket(events)                                  when that fires
//   pump.OnRing()                                          after a doorbell, or if HasWork()
//   waiter.ArmFd([&](Look look) { return pump.HasWork(look); })     before blocking
//
// One thread at a time. Owns the socket and the links. A stream ends (done()) when both directions
// have ended, the socket failed, or the other side wrote nonsense (status() is DATA_LOSS); the
// socket is closed then.
class StreamPump {
 public:
  static constexpr uint32_t kEpollEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  // Largest piece that is moved at once, unless the rings want smaller records.
  static constexpr size_t kPieceBytes = 64 << 10;

  // `socket`: connected stream socket; made non-blocking here.
  StreamPump(UniqueFd socket, StreamLinks links);
  ~StreamPump();
  StreamPump(const StreamPump&) = delete;
  StreamPump& operator=(const StreamPump&) = delete;

  int fd() const { return socket_.get(); }  // -1 when done()
  void OnSocket(uint32_t epoll_events);
  void OnRing();
  // For a Waiter: arms both links as needed and says whether OnRing() has anything to do.
  bool HasWork(Look look);

  // Closes the socket and tells the other side that no more comes, if the ring has room for that.
  void Shutdown();

  bool done() const { return done_; }
  // OK while running and after an orderly end.
  const Status& status() const { return status_; }
  LinkCounters sent() const { return links_.out.counters(); }
  LinkCounters received() const { return links_.in.counters(); }

 private:
  void Pump();
  void SocketToRing();
  // True if it stopped only because it was enough for now.
  bool RingToSocket();
  // Puts what was read from the socket into the ring. False if it does not all fit now.
  bool SendStaged();
  // Tells the other side, as far as there is something new to tell and room in the ring.
  void TellEnd();
  bool DeliverRecord();
  void ReadFlags();
  // Bytes of the next record to the ring that we have, and for which there was no room; -1: none.
  int64_t WaitsForRoom() const;
  bool Ended() const;
  void Fail(Status status);

  StreamLinks links_;
  UniqueFd socket_;

  // Read from the socket and not yet in the ring: buffer_[begin_, end_).
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  // Read from the ring and not yet in the socket: what of record_ is beyond record_sent_.
  RecordView record_;
  size_t record_sent_ = 0;
  bool has_record_ = false;

  bool readable_ = true;  // the socket may have bytes: no EAGAIN since the last event
  bool writable_ = true;  // the socket may have room
  bool more_ = true;      // there is something to do that no event will announce

  // "Ended": no more bytes come from there. "Gone": it takes none either. "Told": the other side
  // knows.
  bool local_ended_ = false;
  bool local_gone_ = false;
  bool told_ended_ = false;
  bool told_gone_ = false;
  bool remote_ended_ = false;
  bool remote_gone_ = false;
  bool done_ = false;
  Status status_;
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_STREAM_H_
