// iceoryx, whose daemon (iox-roudi) must run: an untyped publisher and subscriber each way. The
// subscriber polls, which is its fastest way; the publisher waits for the slowest subscriber, so
// that nothing is lost.
#include <unistd.h>

#include <optional>
#include <thread>

#include "iceoryx_hoofs/log/logmanager.hpp"
#include "iceoryx_posh/popo/untyped_publisher.hpp"
#include "iceoryx_posh/popo/untyped_subscriber.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"
#include "tests/bench/path/channel.h"

namespace ivmq::bench {
namespace {

iox::capro::IdString_t Text(const std::string& text) {
  return {iox::cxx::TruncateToCapacity, text.c_str()};
}

class IceoryxEnd {
 public:
  explicit IceoryxEnd(const Meet& meet) : shares_core_(meet.first_ends > 1) {
    iox::log::LogManager::GetLogManager().SetDefaultLogLevel(
        iox::log::LogLevel::kError, iox::log::LogLevelOutput::kHideLogLevel);
    const std::string process = "ivmq-bench-" + std::to_string(::getpid());
    iox::runtime::PoshRuntime::initRuntime(
        iox::RuntimeName_t(iox::cxx::TruncateToCapacity, process.c_str()));
    // A path is no name there.
    const std::string instance = meet.name.substr(meet.name.rfind('/') + 1);
    const bool first = meet.end == End::kFirst;
    iox::popo::PublisherOptions out;
    out.historyCapacity = 0;
    out.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    publisher_.emplace(
        iox::capro::ServiceDescription{"ivmq", Text(instance), Text(first ? "there" : "back")},
        out);
    iox::popo::SubscriberOptions in;
    in.queueCapacity = 256;
    in.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
    subscriber_.emplace(
        iox::capro::ServiceDescription{"ivmq", Text(instance), Text(first ? "back" : "there")}, in);
    while (subscriber_->getSubscriptionState() != iox::SubscribeState::SUBSCRIBED ||
           !publisher_->hasSubscribers()) {
      std::this_thread::yield();
    }
  }
  void Send(std::span<const std::byte> message, bool /*more*/) {
    for (;;) {
      auto loan = publisher_->loan(static_cast<uint32_t>(message.size()));
      if (loan.has_error()) continue;  // all chunks are on their way
      std::memcpy(loan.value(), message.data(), message.size());
      publisher_->publish(loan.value());
      return;
    }
  }
  int Receive(Messages* expected, int /*limit*/) {
    for (;;) {
      auto taken = subscriber_->take();
      if (taken.has_error()) {
        if (shares_core_) std::this_thread::yield();
        continue;
      }
      const auto* const header = iox::mepoo::ChunkHeader::fromUserPayload(taken.value());
      expected->Expect(taken.value(), header->userPayloadSize());
      subscriber_->release(taken.value());
      return 1;
    }
  }

 private:
  const bool shares_core_;
  std::optional<iox::popo::UntypedPublisher> publisher_;
  std::optional<iox::popo::UntypedSubscriber> subscriber_;
};

}  // namespace

void AddIceoryx(std::vector<Contender>* to) {
  to->push_back(ContenderOf<IceoryxEnd>("iceoryx", 10'000, 1000));
  to->back().one_to_many = true;
}

}  // namespace ivmq::bench
