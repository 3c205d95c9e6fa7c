// Clients and servers whose other side writes what it likes. The other side is registered and then
// left alone: the test writes into its rings in its name. It rings nobody, so what it writes is
// found by the look that is taken once a second.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstring>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ivmq/ivmq.h"
#include "ringbuf/spsc_consumer.h"
#include "ringbuf/spsc_producer.h"
#include "sdk/services/request_wire.h"
#include "tests/sdk/daemon.h"
#include "tests/sdk/fake_control.h"
#include "tests/sdk/texts.h"

namespace ivmq::test {
namespace {

using namespace std::chrono_literals;
using internal::kReplyHeadBytes;
using internal::kRequestFlag;
using internal::kRequestHeadBytes;
using internal::ReplyHead;
using internal::RequestHead;

constexpr auto kLong = 60s;

class RequestHostileTest : public ::testing::Test {
 protected:
  Node Open(const std::string& name) {
    return Node::Open({.name = name, .socket_path = control_.socket_path()}).value();
  }
  static Status Echo(BytesServerCall& call) { return call.Reply(call.query()); }
  // The first pair's: its request ring, its reply ring.
  ringbuf::RingView RingOf(bool of_requests) {
    for (const auto& link : control_.links()) {
      if (link.pair == 0 || (link.id < link.pair) != of_requests) continue;
      return ringbuf::RingAt(control_.region().data() + link.ring_offset, link.ring_capacity);
    }
    throw std::runtime_error("no pair");
  }
  bool IsQuarantined() {
    return control_.AwaitRequest([](const v1::NodeRequest& one) { return one.has_link_corrupt(); })
        .has_link_corrupt();
  }

  FakeControl control_;
  Node server_node_ = Open("server");
  Node client_node_ = Open("client");
};

TEST_F(RequestHostileTest, AClientThatTakesNothingHoldsTheHandlersThreadForSoLongOnly) {
  std::promise<Status> failed;
  std::promise<Status> failed_again;
  auto server = server_node_
                    .ServeBytes("s", "", "",
                                [&](BytesServerCall& call) {
                                  if (call.query().empty()) return call.Reply(call.query());
                                  Status status;
                                  while (status.ok()) status = call.Write(call.query());
                                  failed.set_value(status);
                                  EXPECT_TRUE(call.cancelled());
                                  failed_again.set_value(call.Write(call.query()));
                                  return status;
                                },
                                {.write_timeout = 50ms})
                    .value();
  auto client = client_node_.CreateClient("s").value();
  auto reader = client.CallStream(AsBytes("x"), std::chrono::hours(24 * 365)).value();
  const Status status = failed.get_future().get();
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(status.message(), ::testing::HasSubstr("write_timeout"));
  EXPECT_EQ(failed_again.get_future().get().message(), status.message()) << "it says it again";
  EXPECT_TRUE(client.Call({}, kLong).ok()) << "it is the node's only thread for handlers";
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(reader.Next(kLong).ok());
  EXPECT_EQ(reader.Next(kLong).status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(server_node_.ServeBytes("t", "", "", Echo, {.write_timeout = 0s}).status().code(),
            Code::kInvalidArgument);
}

// A client and the server's ends of its rings.
class LyingServerTest : public RequestHostileTest {
 protected:
  void Send(const ReplyHead& head, std::string_view body = {}) {
    std::vector<std::byte> record(kReplyHeadBytes + body.size());
    WriteHead(head, record.data());
    if (!body.empty()) std::memcpy(record.data() + kReplyHeadBytes, body.data(), body.size());
    Send(record, kRequestFlag);
  }
  void Send(std::span<const std::byte> record, uint8_t flags) {
    ASSERT_EQ(replies_.TryWrite(record, flags), ringbuf::WriteResult::kOk);
    replies_.Publish();
  }
  // The next request; waits for it.
  RequestHead Take() {
    ringbuf::RecordView record;
    EXPECT_TRUE(WaitUntil([&] { return requests_.TryRead(&record) == ringbuf::ReadResult::kOk; }));
    RequestHead head;
    EXPECT_TRUE(ReadHead(record.flags, {record.data, record.size}, &head));
    requests_.Release();
    return head;
  }
  std::future<Status> Ask() {
    return std::async(std::launch::async,
                      [this] { return client_.Call(AsBytes("x"), kLong).status(); });
  }

  BytesServer server_ = server_node_.CreateBytesServer("s", "", "", Echo).value();
  BytesClient client_ = client_node_.CreateClient("s").value();
  ringbuf::SpscConsumer<> requests_{RingOf(true)};
  ringbuf::SpscProducer<> replies_{RingOf(false)};
};

TEST_F(LyingServerTest, RepliesToWhatWasNeverAskedAreCounted) {
  auto asked = Ask();
  const uint64_t id = Take().id;
  for (const uint64_t wrong : {uint64_t{0}, id + 1, id + (1 << 20), id - (1 << 20), ~uint64_t{0}}) {
    Send(ReplyHead{wrong, 0, ReplyHead::Kind::kLast}, "wrong");
  }
  Send(ReplyHead{id, 0, ReplyHead::Kind::kLast}, "right");
  Send(ReplyHead{id, 0, ReplyHead::Kind::kLast}, "again");
  EXPECT_TRUE(asked.get().ok());
  asked = Ask();
  Send(ReplyHead{Take().id, 200, ReplyHead::Kind::kLast}, "a code that is none");
  EXPECT_EQ(asked.get().code(), Code::kUnknown);
  EXPECT_EQ(client_.counters().late_replies, 6u);
  EXPECT_EQ(client_.counters().corrupt_links, 0u);
}

TEST_F(LyingServerTest, RecordsThatAreNoRepliesQuarantineIt) {
  auto asked = Ask();
  Take();
  Send(AsBytes("too short"), kRequestFlag);
  EXPECT_EQ(asked.get().code(), Code::kDataLoss);
  EXPECT_TRUE(IsQuarantined());
  EXPECT_EQ(client_.counters().corrupt_links, 1u);
  EXPECT_EQ(client_.Call(AsBytes("x"), kLong).status().code(), Code::kUnavailable);
}

TEST_F(LyingServerTest, FlagsThatAreNotOursQuarantineIt) {
  auto asked = Ask();
  Take();
  Send(std::vector<std::byte>(kReplyHeadBytes), 0);
  EXPECT_EQ(asked.get().code(), Code::kDataLoss);
  EXPECT_TRUE(IsQuarantined());
}

TEST_F(LyingServerTest, NonsenseInTheRingQuarantinesItAndNobodyElse) {
  auto other = server_node_.ServeBytes("s", "", "", Echo);
  ASSERT_TRUE(client_.WaitForServers(2, kLong).ok());
  auto first = Ask();
  auto second = Ask();
  Take();
  auto* header = reinterpret_cast<uint64_t*>(RingOf(false).data);
  *header = ~uint64_t{0};
  EXPECT_TRUE(IsQuarantined());
  EXPECT_EQ(int{first.get().ok()} + int{second.get().ok()}, 1);
  EXPECT_TRUE(client_.Call(AsBytes("x"), kLong).ok());
}

TEST_F(LyingServerTest, AStreamBeyondItsCreditQuarantinesIt) {
  auto reader = client_.CallStream(AsBytes("x"), kLong).value();
  const uint64_t id = Take().id;
  for (int i = 0; i < 65; ++i) Send(ReplyHead{id, 0, ReplyHead::Kind::kMore}, "piece");
  EXPECT_EQ(Ask().get().code(), Code::kDataLoss);
  EXPECT_TRUE(IsQuarantined());
  // What came within the credit is still given out.
  for (int i = 0; i < 64; ++i) ASSERT_TRUE(reader.Next(kLong).ok());
  EXPECT_EQ(reader.Next(kLong).status().code(), Code::kDataLoss);
}

TEST_F(LyingServerTest, NonsenseInTheRequestRingEndsWhatWaitsForRoomAtOnce) {
  // Nobody reads these; the ring holds eight.
  const Bytes query(client_.max_query_bytes());
  std::vector<BytesReplyReader> readers;
  for (int i = 0; i < 8; ++i) readers.push_back(client_.CallStream(query, 24h).value());
  auto waits = std::async(std::launch::async, [&] { return client_.Call(query, 24h).status(); });
  EXPECT_TRUE(WaitUntil([this] { return client_.counters().open == 9; }));
  RingOf(true).descriptor->head.store(~uint64_t{0});
  EXPECT_EQ(waits.get().code(), Code::kUnavailable);
  EXPECT_EQ(readers[0].Next().status().code(), Code::kDataLoss);
  EXPECT_TRUE(IsQuarantined());
}

TEST_F(LyingServerTest, RandomRecordsDoNoHarm) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto asked = Ask();
  const uint64_t id = Take().id;
  for (int i = 0; i < 200; ++i) {
    std::vector<std::byte> record(kReplyHeadBytes + random() % 40);
    WriteHead(ReplyHead{id + (random() % 3) * (1 << 20), static_cast<uint8_t>(random() % 20),
                        static_cast<ReplyHead::Kind>(random() % 3)},
              record.data());
    Send(record, kRequestFlag);
  }
  static_cast<void>(asked.get());
  EXPECT_EQ(client_.counters().open, 0u);
}

// A server and the client's ends of its rings.
class LyingClientTest : public RequestHostileTest {
 protected:
  void Send(const RequestHead& head, std::string_view body = {}) {
    std::vector<std::byte> record(kRequestHeadBytes + body.size());
    WriteHead(head, record.data());
    if (!body.empty()) std::memcpy(record.data() + kRequestHeadBytes, body.data(), body.size());
    Send(record, kRequestFlag);
  }
  void Send(std::span<const std::byte> record, uint8_t flags) {
    ASSERT_EQ(requests_.TryWrite(record, flags), ringbuf::WriteResult::kOk);
    requests_.Publish();
  }
  static RequestHead Request(uint64_t id, uint64_t timeout_ns = ~uint64_t{0}) {
    RequestHead head;
    head.id = id;
    head.timeout_ns = timeout_ns;
    return head;
  }
  ReplyHead Take() {
    ringbuf::RecordView record;
    EXPECT_TRUE(WaitUntil([&] { return replies_.TryRead(&record) == ringbuf::ReadResult::kOk; }));
    ReplyHead head;
    EXPECT_TRUE(ReadHead(record.flags, {record.data, record.size}, &head));
    replies_.Release();
    return head;
  }

  BytesServer server_ = server_node_.ServeBytes("s", "", "", &LyingClientTest::Handle).value();
  BytesClient client_ = client_node_.CreateClient("s").value();
  ringbuf::SpscProducer<> requests_{RingOf(true)};
  ringbuf::SpscConsumer<> replies_{RingOf(false)};

 private:
  static Status Handle(BytesServerCall& call) {
    const auto first = call.query().empty() ? std::byte{0} : call.query()[0];
    while (first == std::byte{'*'}) {
      if (Status status = call.Write(call.query()); !status.ok()) return status;
    }
    return call.Reply(call.query());
  }
};

TEST_F(LyingClientTest, OneIdTwiceAndWordsAboutUnknownOnesDoNoHarm) {
  RequestHead cancel;
  cancel.id = 99;
  cancel.kind = RequestHead::Kind::kCancel;
  Send(cancel);
  RequestHead credit;
  credit.id = 99;
  credit.kind = RequestHead::Kind::kCredit;
  credit.credit = {~uint32_t{0}, ~uint32_t{0}};
  Send(credit);
  Send(Request(7), "a");
  Send(Request(7), "b");
  EXPECT_EQ(Take().id, 7u);
  EXPECT_EQ(Take().id, 7u);
  EXPECT_EQ(server_.counters().requests, 2u);
  EXPECT_EQ(server_.counters().corrupt_links, 0u);
}

TEST_F(LyingClientTest, CreditBeyondTheWindowIsNone) {
  Send(Request(1), "*");
  RequestHead credit;
  credit.id = 1;
  credit.kind = RequestHead::Kind::kCredit;
  credit.credit = {~uint32_t{0}, ~uint32_t{0}};
  for (int i = 0; i < 3; ++i) Send(credit);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(Take().kind, ReplyHead::Kind::kMore);
  RequestHead cancel;
  cancel.id = 1;
  cancel.kind = RequestHead::Kind::kCancel;
  Send(cancel);
  int more = 0;
  ReplyHead last = Take();
  for (; last.kind == ReplyHead::Kind::kMore; last = Take()) ++more;
  EXPECT_LE(more, 4 * 64);
  EXPECT_EQ(last.code, static_cast<uint8_t>(Code::kCancelled));
}

TEST_F(LyingClientTest, RecordsThatAreNoRequestsQuarantineIt) {
  auto other = client_node_.CreateClient("s").value();
  std::vector<std::byte> record(kRequestHeadBytes);
  WriteHead(Request(1), record.data());
  record[16] = std::byte{9};  // a kind of request that there is not
  Send(record, kRequestFlag);
  EXPECT_TRUE(IsQuarantined());
  EXPECT_TRUE(WaitUntil([&] { return server_.counters().corrupt_links == 1; }));
  EXPECT_TRUE(other.Call(AsBytes("x"), kLong).ok());
}

// A stream that waits for credit has its client's requests read past those that may wait. Two
// threads serve, so that another client can tell when the server has come through.
class GreedyClientTest : public RequestHostileTest {
 protected:
  static constexpr size_t kRingBytes = 64 << 10;

  GreedyClientTest() {
    for (auto& thread : threads_) {
      thread = std::thread([this] { static_cast<void>(server_.Run()); });
    }
  }
  ~GreedyClientTest() override {
    server_.Close();
    for (auto& thread : threads_) thread.join();
  }
  bool TryAsk(uint64_t id, std::string_view body) {
    std::vector<std::byte> record(kRequestHeadBytes + body.size());
    RequestHead head;
    head.id = id;
    head.timeout_ns = ~uint64_t{0};
    WriteHead(head, record.data());
    if (!body.empty()) std::memcpy(record.data() + kRequestHeadBytes, body.data(), body.size());
    if (requests_.TryWrite(record, kRequestFlag) != ringbuf::WriteResult::kOk) return false;
    requests_.Publish();
    return true;
  }
  uint64_t TakeAll() {
    uint64_t finished = 0;
    ringbuf::RecordView record;
    while (replies_.TryRead(&record) == ringbuf::ReadResult::kOk) {
      ReplyHead head;
      EXPECT_TRUE(ReadHead(record.flags, {record.data, record.size}, &head));
      if (head.kind == ReplyHead::Kind::kLast) ++finished;
      replies_.Release();
    }
    return finished;
  }

  BytesServer server_ =
      server_node_.CreateBytesServer("s", "", "", &Handle, {.ring_bytes = kRingBytes}).value();
  BytesClient client_ = client_node_.CreateClient("s", {.ring_bytes = kRingBytes}).value();
  BytesClient other_ = client_node_.CreateClient("s").value();
  ringbuf::SpscProducer<> requests_{RingOf(true)};
  ringbuf::SpscConsumer<> replies_{RingOf(false)};

 private:
  static Status Handle(BytesServerCall& call) {
    if (!call.query().empty()) return call.Reply(call.query());
    for (;;) {
      if (Status status = call.Write(call.query()); !status.ok()) return status;
    }
  }
  std::array<std::thread, 2> threads_;
};

TEST_F(GreedyClientTest, WhoTakesNoRepliesIsNotReadWithoutEnd) {
  // Each refusal takes more than 64 bytes of the ring; as many more may wait for room.
  constexpr uint64_t kRefusedMax = kRingBytes / 64 + 64;
  ASSERT_TRUE(TryAsk(1, {}));
  EXPECT_TRUE(WaitUntil([this] { return server_.counters().running == 1; }));
  uint64_t asked = 0;
  int calls = 0;
  for (; calls < 3000 && server_.counters().refused <= kRefusedMax; ++calls) {
    while (asked < 4 * kRefusedMax && TryAsk(asked + 2, "x")) ++asked;
    ASSERT_TRUE(other_.Call(AsBytes("y"), kLong).ok());
  }
  EXPECT_LE(server_.counters().refused, kRefusedMax);
  EXPECT_GT(server_.counters().refused, kRefusedMax / 2);
  EXPECT_LT(asked, 4 * kRefusedMax);
  // What it has asked is answered once it takes replies.
  uint64_t finished = 0;
  EXPECT_TRUE(WaitUntil([&] {
    finished += TakeAll();
    return other_.Call(AsBytes("y"), kLong).ok() && finished == asked;
  }));
}

TEST_F(LyingClientTest, RandomRecordsDoNoHarm) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto other = client_node_.CreateClient("s").value();
  for (int i = 0; i < 300; ++i) {
    RequestHead head = Request(random() % 8, random() % 2 == 0 ? random() : ~uint64_t{0});
    head.kind = static_cast<RequestHead::Kind>(random() % 3);
    head.credit = {static_cast<uint32_t>(random()), static_cast<uint32_t>(random())};
    const bool with_body = head.kind == RequestHead::Kind::kRequest;
    Send(head, with_body ? (random() % 4 == 0 ? "*" : "body") : "");
  }
  RequestHead cancel;
  cancel.kind = RequestHead::Kind::kCancel;
  for (cancel.id = 0; cancel.id < 8; ++cancel.id) Send(cancel);
  // It is the server's only thread: once this is answered, it has come through.
  client_.Close();
  EXPECT_TRUE(other.Call(AsBytes("x"), kLong).ok());
}

}  // namespace
}  // namespace ivmq::test
