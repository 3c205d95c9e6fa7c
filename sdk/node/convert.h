#ifndef IVMQ_SDK_NODE_CONVERT_H_
#define IVMQ_SDK_NODE_CONVERT_H_

#include <chrono>
#include <string>

#include "ivmq/options.h"
#include "ivmq/status.h"
#include "ivmq/v1/control.pb.h"
#include "transport/link_address.h"
#include "transport/link_counters.h"
#include "transport/status.h"
#include "transport/waiter.h"

// Between the words of the layers below and those of the public face. Pure functions.

namespace ivmq::internal {

Status FromTransport(const transport::Status& status);
// Codes beyond gRPC's are UNKNOWN.
Status FromFailure(const v1::Failure& failure);

// Nothing is checked here: LinkWriter::Open() and LinkReader::Open() do.
transport::LinkAddress AddressOf(const v1::LinkUp& link);

// Why the other side of a link is gone: for people.
std::string GoneText(v1::LinkDown::Reason reason);

transport::WaitStrategy StrategyOf(Wait wait);

// `timeout` from now. Negative is now; what would overflow the clock is a year from now.
std::chrono::steady_clock::time_point DeadlineAfter(std::chrono::nanoseconds timeout);
// "50 ms", "1.5 s": for messages.
std::string DurationText(std::chrono::nanoseconds duration);

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_CONVERT_H_
