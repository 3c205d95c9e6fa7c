#ifndef IVMQ_SDK_COMMAND_DOCTOR_REGION_H_
#define IVMQ_SDK_COMMAND_DOCTOR_REGION_H_

#include <ivmq/node.h>

#include "sdk/command/findings.h"
#include "transport/attach_client.h"

namespace ivmq::command {

// Version and size of the region, and how fast it is read: an uncached mapping is an order of
// magnitude slower. Only reads.
void ExamineRegion(const transport::Attached& attached, Findings* findings);

// How fast a node writes, in a ring of a link from itself to itself: nobody else's memory is
// touched.
void ExamineWriting(Node* node, Findings* findings);

// Rings this process's own vector and waits for it. Other processes on the vector look at their
// links once in vain. `has_iommu`: interrupts need no more than the right driver.
void ExamineDoorbell(const transport::Attached& attached, bool has_iommu, Findings* findings);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_DOCTOR_REGION_H_
