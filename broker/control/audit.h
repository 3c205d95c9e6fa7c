#ifndef IVMQ_BROKER_CONTROL_AUDIT_H_
#define IVMQ_BROKER_CONTROL_AUDIT_H_

#include <cstddef>
#include <deque>
#include <string>
#include <utility>

#include "broker/control/directory.h"
#include "broker/control/ring_reading.h"
#include "ivmq/v1/admin.pb.h"

// Accounts of links: published = delivered + dropped + in flight, as the nodes counted and as the
// ring says. Pure. One thread, the books'.

namespace ivmq::control {

// What was known of a link at one time: its counters are the nodes', perhaps old ones.
struct LinkLook {
  v1::LinkCounters counters;
  RingReading ring;
};

// Of a link looked at twice, one look wholly after the other. What did not change in between had
// its value between the two looks, so both sides and the ring are taken at one moment. Once both
// sides have let go of the link one look is enough. REQUIRES: its ring has not been reused.
v1::LinkAudit AuditOf(const Link& link, const std::string& realm, const LinkLook& first,
                      const LinkLook& second);

// The final accounts of the last links that ended, oldest first. One thread.
class EndedLinks {
 public:
  static constexpr size_t kKept = 1024;

  void Add(v1::LinkAudit audit) {
    audits_.push_back(std::move(audit));
    if (audits_.size() > kKept) audits_.pop_front();
  }
  const std::deque<v1::LinkAudit>& audits() const { return audits_; }

 private:
  std::deque<v1::LinkAudit> audits_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_AUDIT_H_
