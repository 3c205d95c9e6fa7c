#include "sdk/node/counter_pieces.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "sdk/node/endpoint.h"
#include "sdk/node/node_impl.h"
#include "tests/sdk/fake_control.h"
#include "transport/frame_channel.h"

namespace ivmq::internal {
namespace {

using google::protobuf::FieldDescriptor;
using transport::FrameChannel;

constexpr int kManyLinks = 20'000;

// As long as they can be; of a link whose ID takes ten bytes.
v1::LinkCounters Counters(int link) {
  v1::LinkCounters counters;
  const auto* const type = counters.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* const field = type->field(i);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      counters.GetReflection()->SetBool(&counters, field, true);
    } else {
      counters.GetReflection()->SetUInt64(&counters, field, ~uint64_t{0});
    }
  }
  counters.set_link_id(~static_cast<uint64_t>(link));
  return counters;
}

std::vector<v1::NodeRequest> PiecesOf(const v1::NodeRequest& request) {
  std::vector<v1::NodeRequest> pieces;
  SendInPieces(request, [&](const v1::NodeRequest& piece) { pieces.push_back(piece); });
  for (const v1::NodeRequest& piece : pieces) {
    EXPECT_LE(piece.ByteSizeLong(), FrameChannel::kMaxFrameBytes);
  }
  return pieces;
}

TEST(CounterPiecesTest, FewLinksGoInOnePieceAndManyInOrder) {
  for (const int links : {0, 1, kMostCountersInFrame, kMostCountersInFrame + 1, kManyLinks}) {
    v1::NodeRequest answer;
    answer.set_request_id(7);
    answer.mutable_counters();
    for (int i = 0; i < links; ++i) *answer.mutable_counters()->add_links() = Counters(i);
    const std::vector<v1::NodeRequest> pieces = PiecesOf(answer);
    const int expected = std::max(1, (links + kMostCountersInFrame - 1) / kMostCountersInFrame);
    ASSERT_EQ(pieces.size(), static_cast<size_t>(expected));
    int next = 0;
    for (const v1::NodeRequest& piece : pieces) {
      EXPECT_TRUE(piece.has_counters());
      EXPECT_EQ(piece.request_id(), &piece == &pieces.back() ? 7U : 0U);
      for (const v1::LinkCounters& link : piece.counters().links()) {
        EXPECT_EQ(link.link_id(), ~static_cast<uint64_t>(next++));
      }
    }
    EXPECT_EQ(next, links);
  }
}

TEST(CounterPiecesTest, AnUnregistrationClosesFirstTheLinksThatItHasNoRoomFor) {
  for (const int links : {0, kMostCountersInFrame, kMostCountersInFrame + 1, kManyLinks}) {
    v1::NodeRequest request;
    request.mutable_unregister()->set_id(3);
    for (int i = 0; i < links; ++i) *request.mutable_unregister()->add_counters() = Counters(i);
    const std::vector<v1::NodeRequest> pieces = PiecesOf(request);
    const int in_last = std::min(links, kMostCountersInFrame);
    ASSERT_EQ(pieces.size(), static_cast<size_t>(links - in_last + 1));
    for (int i = in_last; i < links; ++i) {
      const v1::LinkClosed& closed = pieces[static_cast<size_t>(i - in_last)].link_closed();
      EXPECT_EQ(closed.link_id(), ~static_cast<uint64_t>(i));
      EXPECT_EQ(closed.endpoint_id(), 3U);
      EXPECT_EQ(closed.counters().link_id(), closed.link_id());
    }
    EXPECT_EQ(pieces.back().unregister().id(), 3U);
    EXPECT_EQ(pieces.back().unregister().counters_size(), in_last);
  }
}

// An endpoint that says that it has many links.
class ManyLinks : public Endpoint {
 public:
  explicit ManyLinks(NodeImpl* node) : Endpoint(node, "t", {}) {}
  void AddCounters(v1::Counters* counters) override {
    for (int i = 0; i < kManyLinks; ++i) *counters->add_links() = Counters(i);
  }
  void AddLeft(std::vector<uint64_t>* /*link_ids*/) const override {}
  void OnLinkUp(const v1::LinkUp& /*link*/, transport::Doorbell /*doorbell*/) override {}
  bool OnLinkReady(uint64_t /*link_id*/) override { return false; }
  bool OnLinkDown(const v1::LinkDown& /*down*/) override { return false; }
  bool OnLinkSuspect(const v1::LinkSuspect& /*suspect*/) override { return false; }
  void OnLinkRefused(const v1::LinkRefused& /*refused*/) override {}
  void OnDisconnected() override {}

 private:
  void Apply() override {}
  void WakeCaller() override {}
};

TEST(CounterPiecesTest, ANodeWithManyLinksTellsAllCountersAndKeepsItsSession) {
  test::FakeControl control;
  const auto node = NodeImpl::Open({.name = "n", .socket_path = control.socket_path()}).value();
  ManyLinks endpoint(node.get());
  v1::NodeRequest request;
  request.mutable_register_publisher()->set_topic("t");
  const uint64_t id = node->Register(&request, &endpoint).value();
  v1::NodeEvent wanted;
  wanted.set_request_id(5);
  wanted.mutable_counters_wanted();
  control.SendEvent(1, wanted);
  control.AwaitRequest(
      [](const v1::NodeRequest& each) { return each.has_counters() && each.request_id() == 5; });
  int told = 0;
  for (const v1::NodeRequest& each : control.requests()) told += each.counters().links_size();
  EXPECT_EQ(told, kManyLinks);
  EXPECT_TRUE(node->connected());
  node->Forget(id);
}

}  // namespace
}  // namespace ivmq::internal
