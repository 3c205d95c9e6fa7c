#ifndef IVMQ_SDK_PUBSUB_QOS_H_
#define IVMQ_SDK_PUBSUB_QOS_H_

#include <string_view>

#include "ivmq/options.h"
#include "ivmq/status.h"
#include "ivmq/v1/control.pb.h"

// From what an application sets to what a registration offers or asks for. Pure functions.

namespace ivmq::internal {

// What a subscriber of a filter asks for unless told otherwise, in messages.
inline constexpr uint32_t kFilterDepth = 16;

// With ring_bytes and max_message_bytes filled in. INVALID_ARGUMENT: says what was given and what
// is allowed.
Result<v1::Qos> OfferOf(const PublisherOptions& options);
Result<v1::Qos> AskOf(std::string_view topic, const SubscriberOptions& options);

// Whether it has a token `*` or `>`.
bool IsFilter(std::string_view topic);

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_PUBSUB_QOS_H_
