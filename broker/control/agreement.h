#ifndef IVMQ_BROKER_CONTROL_AGREEMENT_H_
#define IVMQ_BROKER_CONTROL_AGREEMENT_H_

#include <cstdint>

#include "ivmq/v1/qos.pb.h"

namespace ivmq::control {

// What a publisher and a subscriber agreed on: what their link is.
struct Agreement {
  v1::Qos::Reliability reliability = v1::Qos::RELIABLE;  // never unspecified
  uint32_t depth = 0;                                    // slots, with KEEP_LAST
  uint32_t history = 0;                                  // kept messages for the subscriber
  uint64_t max_message_bytes = 0;
  uint64_t ring_bytes = 0;  // data capacity; 0 with KEEP_LAST

  bool has_slots() const { return reliability == v1::Qos::KEEP_LAST; }
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_AGREEMENT_H_
