#ifndef IVMQ_TRANSPORT_ATTACH_CLIENT_H_
#define IVMQ_TRANSPORT_ATTACH_CLIENT_H_

#include <chrono>
#include <memory>
#include <string>

#include "transport/attach_protocol.h"
#include "transport/device.h"
#include "transport/region.h"
#include "transport/status.h"
#include "transport/unique_fd.h"

namespace ivmq::transport {

struct Attached {
  std::shared_ptr<Device> device;
  UniqueFd channel;     // frames to control (frame_channel.h)
  UniqueFd connection;  // keep it open: its end is taken for the death of this process. Readable
                        // once the daemon has gone
  RegionInfo region;    // checked, and the one that the welcome names
  AttachMessage welcome{};
};

// Attaches this process to the daemon that listens on `socket_path`.
//
// A daemon that is not there (yet) or says that it cannot serve now is tried again until the
// deadline, and never for longer:
//   UNAVAILABLE          no socket there, nobody listens, or the daemon's own words
//   DEADLINE_EXCEEDED    it listens but says nothing
// What waiting does not mend fails at once:
//   PERMISSION_DENIED    of the socket, or the daemon's own words
//   FAILED_PRECONDITION  another protocol or layout version, naming both; no daemon of ours
//   INVALID_ARGUMENT     a welcome that contradicts itself
// Threads: any.
Result<Attached> Attach(const std::string& socket_path,
                        std::chrono::steady_clock::time_point deadline);

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_ATTACH_CLIENT_H_
