#ifndef IVMQ_TRANSPORT_ATTACHED_DEVICE_H_
#define IVMQ_TRANSPORT_ATTACHED_DEVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "transport/device.h"
#include "transport/mapping.h"
#include "transport/unique_fd.h"

namespace ivmq::transport {

// What a process got from its daemon: the region mapped through a lent fd, one vector, and
// doorbells through the lent device, if it has any to reach (on the host each link brings its
// own eventfd, and OpenDoorbell says NOT_FOUND). Owns its fds; outlives the daemon.
class AttachedDevice : public Device {
 public:
  // `fds` as in attach_protocol.h without the channel. The message comes from a daemon of this
  // machine, yet is checked in full: INVALID_ARGUMENT says what was expected and found.
  static Result<std::shared_ptr<AttachedDevice>> Open(const AttachMessage& welcome,
                                                      std::vector<UniqueFd> fds);

  std::span<std::byte> region() const override;
  uint32_t peer_id() const override;
  uint32_t vector_count() const override;
  int vector_fd(uint32_t vector) const override;
  Result<Doorbell> OpenDoorbell(uint32_t peer, uint32_t vector) const override;
  // FAILED_PRECONDITION: only the daemon lends.
  Status Lend(uint32_t vector, AttachMessage* welcome, std::vector<int>* fds) const override;
  std::string description() const override;

 private:
  AttachedDevice() = default;

  // Constant after Open().
  AttachMessage welcome_{};
  std::shared_ptr<Mapping> region_;
  UniqueFd wake_;
  std::shared_ptr<Mapping> doorbell_page_;         // kMmap
  std::shared_ptr<const UniqueFd> doorbell_file_;  // kPwrite
};

}  // namespace ivmq::transport

#endif  // IVMQ_TRANSPORT_ATTACHED_DEVICE_H_
