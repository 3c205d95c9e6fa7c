#include "transport/stream.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/transport/link_yard.h"
#include "tests/transport/stream_yard.h"
#include "transport/stream_loop.h"

namespace ivmq::transport {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kBulkBytes = 4 << 20;
#else
constexpr uint64_t kBulkBytes = 100 << 20;
#endif

// A byte of an endless sequence that repeats at no power of two.
std::byte ByteAt(uint64_t position, uint64_t seed) {
  return static_cast<std::byte>((position % 65'521) * (seed + 31) >> 3);
}

void SendSequence(int socket, uint64_t bytes, uint64_t seed) {
  std::vector<std::byte> piece(20'011);
  for (uint64_t position = 0; position < bytes;) {
    const size_t length = std::min<uint64_t>(piece.size(), bytes - position);
    for (size_t i = 0; i < length; ++i) piece[i] = ByteAt(position + i, seed);
    size_t sent = 0;
    while (sent < length) {
      const ssize_t more = ::send(socket, piece.data() + sent, length - sent, MSG_NOSIGNAL);
      ASSERT_GT(more, 0) << std::strerror(errno);
      sent += static_cast<size_t>(more);
    }
    position += length;
  }
}

// Reads to the end and checks every byte. How many there were.
uint64_t ReceiveSequence(int socket, uint64_t seed) {
  std::vector<std::byte> piece(30'011);
  uint64_t position = 0;
  for (;;) {
    const ssize_t got = ::recv(socket, piece.data(), piece.size(), 0);
    if (got <= 0) return position;
    for (ssize_t i = 0; i < got; ++i, ++position) {
      if (piece[static_cast<size_t>(i)] != ByteAt(position, seed)) {
        ADD_FAILURE() << "a wrong byte at " << position;
        return position;
      }
    }
  }
}

std::string ReceiveAll(int socket) {
  std::string all;
  char piece[4096];
  for (ssize_t got; (got = ::recv(socket, piece, sizeof(piece), 0)) > 0;) {
    all.append(piece, static_cast<size_t>(got));
  }
  return all;
}

// Two loops, one a side, as control and an agent run them, and a stream between.
class StreamTest : public testing::Test {
 protected:
  void Open(uint64_t ring_bytes) {
    places_ = yard_.MakeStream(ring_bytes);
    control_ = yard_.OpenSide(StreamSide::kControl, places_);
    agent_ = yard_.OpenSide(StreamSide::kAgent, places_);
    control_loop_ = LocalRealm::Must(StreamLoop::Start(yard_.control.wake));
    agent_loop_ = LocalRealm::Must(StreamLoop::Start(yard_.agent.wake));
    control_handle_ = control_loop_->Add(std::move(control_.far), std::move(*control_.links),
                                         [this](const Status& status) {
                                           control_status_ = status;
                                           ++control_closed_;
                                         });
    agent_handle_ = agent_loop_->Add(std::move(agent_.far), std::move(*agent_.links),
                                     [this](const Status& status) {
                                       agent_status_ = status;
                                       ++agent_closed_;
                                     });
  }
  bool BothClosed() {
    return Eventually([this] { return control_closed_ == 1 && agent_closed_ == 1; });
  }

  StreamYard yard_;
  StreamPlaces places_;
  StreamYard::Side control_;
  StreamYard::Side agent_;
  Status control_status_;
  Status agent_status_;
  std::atomic<int> control_closed_ = 0;
  std::atomic<int> agent_closed_ = 0;
  uint64_t control_handle_ = 0;
  uint64_t agent_handle_ = 0;
  // Last, so that they end first: their callbacks use the others.
  std::unique_ptr<StreamLoop> control_loop_;
  std::unique_ptr<StreamLoop> agent_loop_;
};

TEST_F(StreamTest, CarriesManyBytesBothWaysAtOnce) {
  Open(256 << 10);
  std::thread a([&] {
    SendSequence(control_.near.get(), kBulkBytes, 1);
    ::shutdown(control_.near.get(), SHUT_WR);
  });
  std::thread b([&] {
    SendSequence(agent_.near.get(), kBulkBytes, 2);
    ::shutdown(agent_.near.get(), SHUT_WR);
  });
  uint64_t at_agent = 0;
  std::thread c([&] { at_agent = ReceiveSequence(agent_.near.get(), 1); });
  EXPECT_EQ(ReceiveSequence(control_.near.get(), 2), kBulkBytes);
  for (std::thread* thread : {&a, &b, &c}) thread->join();
  EXPECT_EQ(at_agent, kBulkBytes);
  EXPECT_TRUE(BothClosed());
  EXPECT_TRUE(control_status_.ok()) << control_status_.message();
  EXPECT_TRUE(agent_status_.ok()) << agent_status_.message();
}

TEST_F(StreamTest, CarriesManyBytesThroughTheSmallestRing) {
  Open(ringbuf::kMinCapacity);
  constexpr uint64_t kBytes = kBulkBytes / 16;
  std::thread a([&] {
    SendSequence(control_.near.get(), kBytes, 1);
    ::shutdown(control_.near.get(), SHUT_WR);
  });
  std::thread b([&] {
    SendSequence(agent_.near.get(), kBytes, 2);
    ::shutdown(agent_.near.get(), SHUT_WR);
  });
  uint64_t at_agent = 0;
  std::thread c([&] { at_agent = ReceiveSequence(agent_.near.get(), 1); });
  EXPECT_EQ(ReceiveSequence(control_.near.get(), 2), kBytes);
  for (std::thread* thread : {&a, &b, &c}) thread->join();
  EXPECT_EQ(at_agent, kBytes);
  EXPECT_TRUE(BothClosed());
}

TEST_F(StreamTest, AnswersArriveOneByOne) {
  Open(64 << 10);
  for (int i = 0; i < 1000; ++i) {
    char byte = static_cast<char>(i);
    ASSERT_EQ(::send(agent_.near.get(), &byte, 1, 0), 1);
    ASSERT_EQ(::recv(control_.near.get(), &byte, 1, MSG_WAITALL), 1);
    ASSERT_EQ(byte, static_cast<char>(i));
    ASSERT_EQ(::send(control_.near.get(), &byte, 1, 0), 1);
    ASSERT_EQ(::recv(agent_.near.get(), &byte, 1, MSG_WAITALL), 1);
  }
}

TEST_F(StreamTest, WhatWasSentBeforeACloseArrivesAndThenTheEnd) {
  for (const bool control_closes : {true, false}) {
    control_closed_ = agent_closed_ = 0;
    Open(ringbuf::kMinCapacity);
    StreamYard::Side& closes = control_closes ? control_ : agent_;
    StreamYard::Side& stays = control_closes ? agent_ : control_;
    const std::string text(100'000, 'x');
    std::thread sender([&] {
      EXPECT_EQ(::send(closes.near.get(), text.data(), text.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(text.size()));
      closes.near.Reset();
    });
    EXPECT_EQ(ReceiveAll(stays.near.get()), text);
    sender.join();
    stays.near.Reset();
    EXPECT_TRUE(BothClosed());
    EXPECT_TRUE(control_status_.ok());
    EXPECT_TRUE(agent_status_.ok());
    EXPECT_EQ(control_loop_->size(), 0u);
  }
}

TEST_F(StreamTest, AHalfCloseLetsTheOtherDirectionGoOn) {
  Open(64 << 10);
  ::shutdown(agent_.near.get(), SHUT_WR);
  EXPECT_EQ(ReceiveAll(control_.near.get()), "");
  EXPECT_EQ(::send(control_.near.get(), "still here", 10, 0), 10);
  control_.near.Reset();
  EXPECT_EQ(ReceiveAll(agent_.near.get()), "still here");
  EXPECT_TRUE(BothClosed());
}

TEST_F(StreamTest, AWriterIsHeldUpWhileTheOtherSideDoesNotReadAndGoesOnAfterwards) {
  Open(ringbuf::kMinCapacity);
  constexpr uint64_t kBytes = 3 << 20;
  std::atomic<bool> all_sent = false;
  std::thread sender([&] {
    SendSequence(agent_.near.get(), kBytes, 3);
    all_sent = true;
    ::shutdown(agent_.near.get(), SHUT_WR);
  });
  // Until the ring and both sockets are full: then the sender's socket takes no more.
  EXPECT_TRUE(Eventually([&] {
    pollfd room{agent_.near.get(), POLLOUT, 0};
    return ::poll(&room, 1, 200) == 0;
  }));
  EXPECT_FALSE(all_sent);
  EXPECT_EQ(ReceiveSequence(control_.near.get(), 3), kBytes);
  sender.join();
}

TEST_F(StreamTest, AReaderThatClosesEndsAWriterThatIsHeldUp) {
  Open(ringbuf::kMinCapacity);
  std::thread sender([&] {
    std::vector<std::byte> piece(1 << 20);
    ssize_t sent = 0;
    for (int i = 0; i < 100 && sent >= 0; ++i) {
      sent = ::send(agent_.near.get(), piece.data(), piece.size(), MSG_NOSIGNAL);
    }
    EXPECT_LT(sent, 0);
  });
  EXPECT_TRUE(Eventually([&] {
    pollfd room{agent_.near.get(), POLLOUT, 0};
    return ::poll(&room, 1, 200) == 0;
  }));
  control_.near.Reset();
  sender.join();
  agent_.near.Reset();
  EXPECT_TRUE(BothClosed());
}

TEST_F(StreamTest, ARemovedStreamClosesItsSocketAndTellsTheOtherSide) {
  Open(64 << 10);
  control_loop_->Remove(control_handle_);
  EXPECT_EQ(control_loop_->size(), 0u);
  EXPECT_EQ(ReceiveAll(control_.near.get()), "");
  EXPECT_EQ(ReceiveAll(agent_.near.get()), "");
  EXPECT_TRUE(Eventually([this] { return agent_closed_ == 1; }));
  EXPECT_TRUE(agent_status_.ok());
  EXPECT_EQ(control_closed_, 0) << "its owner knows";
  control_loop_->Remove(control_handle_);
  control_loop_->Remove(12345);
}

TEST_F(StreamTest, NonsenseInTheRingClosesTheSocketAndSaysSo) {
  Open(64 << 10);
  auto* ring =
      reinterpret_cast<ringbuf::RingDescriptor*>(yard_.links.At(places_.to_control_ring_offset));
  ring->tail.store(~uint64_t{0});
  EXPECT_EQ(ReceiveAll(control_.near.get()), "");  // found by the look at everything, at the latest
  EXPECT_TRUE(Eventually([this] { return control_closed_ == 1; }));
  EXPECT_EQ(control_status_.code(), Code::kDataLoss);
  EXPECT_EQ(ReceiveAll(agent_.near.get()), "") << "the other side learns of the end";
}

TEST_F(StreamTest, NonsenseWhereRoomIsAwaitedEndsAWriterThatIsHeldUp) {
  places_ = yard_.MakeStream(ringbuf::kMinCapacity);
  control_ = yard_.OpenSide(StreamSide::kControl, places_);
  control_loop_ = LocalRealm::Must(StreamLoop::Start(yard_.control.wake));
  control_loop_->Add(std::move(control_.far), std::move(*control_.links),
                     [this](const Status& status) {
                       control_status_ = status;
                       ++control_closed_;
                     });
  // Nobody reads the ring at the other end: the socket fills up behind it.
  const std::vector<std::byte> piece(64 << 10);
  EXPECT_TRUE(Eventually([&] {
    while (::send(control_.near.get(), piece.data(), piece.size(), MSG_DONTWAIT) > 0) {
    }
    pollfd room{control_.near.get(), POLLOUT, 0};
    return ::poll(&room, 1, 200) == 0;
  }));
  auto* ring =
      reinterpret_cast<ringbuf::RingDescriptor*>(yard_.links.At(places_.to_agent_ring_offset));
  ring->head.store(~uint64_t{0});
  EXPECT_TRUE(Eventually([this] { return control_closed_ == 1; }));
  EXPECT_EQ(control_status_.code(), Code::kDataLoss);
}

TEST_F(StreamTest, ManyStreamsShareALoop) {
  constexpr int kStreams = 32;
  control_loop_ = LocalRealm::Must(StreamLoop::Start(yard_.control.wake));
  agent_loop_ = LocalRealm::Must(StreamLoop::Start(yard_.agent.wake));
  std::vector<StreamYard::Side> controls;
  std::vector<StreamYard::Side> agents;
  for (int i = 0; i < kStreams; ++i) {
    const StreamPlaces places = yard_.MakeStream(ringbuf::kMinCapacity);
    controls.push_back(yard_.OpenSide(StreamSide::kControl, places));
    agents.push_back(yard_.OpenSide(StreamSide::kAgent, places));
    control_loop_->Add(std::move(controls.back().far), std::move(*controls.back().links),
                       [this](const Status&) { ++control_closed_; });
    agent_loop_->Add(std::move(agents.back().far), std::move(*agents.back().links),
                     [this](const Status&) { ++agent_closed_; });
  }
  std::vector<std::thread> threads;
  threads.reserve(kStreams);
  for (int i = 0; i < kStreams; ++i) {
    threads.emplace_back([&, i] {
      SendSequence(agents[i].near.get(), 100'000, static_cast<uint64_t>(i));
      agents[i].near.Reset();
    });
  }
  for (int i = 0; i < kStreams; ++i) {
    EXPECT_EQ(ReceiveSequence(controls[i].near.get(), static_cast<uint64_t>(i)), 100'000u);
    controls[i].near.Reset();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(
      Eventually([this] { return control_closed_ == kStreams && agent_closed_ == kStreams; }));
}

TEST_F(StreamTest, ALoopThatEndsClosesItsStreams) {
  Open(64 << 10);
  control_loop_.reset();
  EXPECT_EQ(ReceiveAll(control_.near.get()), "");
  EXPECT_EQ(ReceiveAll(agent_.near.get()), "");
  EXPECT_EQ(control_closed_, 0);
}

TEST_F(StreamTest, PlacesPassThroughThePeerEntryUnchanged) {
  const StreamPlaces places = yard_.MakeStream(ringbuf::kMinCapacity);
  PeerEntry entry{};
  StoreStreamPlaces(places, &entry);
  const StreamPlaces loaded = LoadStreamPlaces(entry);
  EXPECT_EQ(std::memcmp(&loaded, &places, sizeof(places)), 0);
}

TEST_F(StreamTest, BadPlacesAreRefusedOnBothSides) {
  const uint64_t size = yard_.links.host->region().size();
  const StreamPlaces good = yard_.MakeStream(ringbuf::kMinCapacity);
  using Field = uint64_t StreamPlaces::*;
  for (const Field field :
       {&StreamPlaces::to_control_ring_offset, &StreamPlaces::to_agent_ring_offset,
        &StreamPlaces::ring_bytes, &StreamPlaces::agent_wake_offset,
        &StreamPlaces::control_wake_offset, &StreamPlaces::to_control_ready_offset,
        &StreamPlaces::to_control_space_offset, &StreamPlaces::to_agent_ready_offset,
        &StreamPlaces::to_agent_space_offset}) {
    for (const uint64_t value : {uint64_t{0}, size, ~uint64_t{0}, uint64_t{1} << 63}) {
      StreamPlaces bad = good;
      bad.*field = value;
      int refused = 0;
      for (const StreamSide side : {StreamSide::kControl, StreamSide::kAgent}) {
        refused += !OpenStream(yard_.agent.device, bad, {side, 1, false}, Doorbell()).ok();
      }
      // A side's own wake block is its NodeWake's to check; the other side rings it.
      const bool own_wake =
          field == &StreamPlaces::agent_wake_offset || field == &StreamPlaces::control_wake_offset;
      EXPECT_EQ(refused, own_wake ? 1 : 2) << value;
    }
  }
}

}  // namespace
}  // namespace ivmq::transport
