#ifndef IVMQ_SDK_COMMAND_DOCTOR_HOST_H_
#define IVMQ_SDK_COMMAND_DOCTOR_HOST_H_

#include <string>
#include <vector>

#include "ivmq/v1/admin.pb.h"
#include "sdk/command/findings.h"

namespace ivmq::command {

// What of a QEMU's command line matters to ivmq.
struct QemuCommandLine {
  struct Device {
    std::string chardev;
    std::string socket;  // of the chardev; empty if it is none we can read
    bool reconnects = false;
    int vectors = 1;        // QEMU's own default
    bool is_plain = false;  // ivshmem-plain: no doorbells
  };
  std::vector<Device> devices;
  bool emulates = true;           // TCG: no KVM was asked for
  bool one_possible_cpu = false;  // -smp 1 without maxcpus, or no -smp at all
};

// `arguments`: argv as /proc/PID/cmdline has it. Devices are those of ivshmem alone.
QemuCommandLine ParseQemu(const std::vector<std::string>& arguments);

// VMs that ivmqd knows and does not hear: they show no sign of life, or have no agent.
void ExaminePeers(const v1::ListPeersResponse& known, Findings* findings);

// Links whose subscriber has left messages unread for ten seconds or more, or that were put out of
// use because one side wrote nonsense.
void ExamineLinks(const v1::ListLinksResponse& known, Findings* findings);

// A QEMU with an ivshmem device, beside what ivmqd knows of it. `sockets`: where ivmqd listens;
// empty: not known.
void ExamineQemu(int pid, const QemuCommandLine& qemu, const v1::ListPeersResponse& known,
                 const std::vector<std::string>& sockets, Findings* findings);
// Every one of this machine whose command line can be read.
void ExamineQemus(const v1::ListPeersResponse& known, const std::vector<std::string>& sockets,
                  Findings* findings);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_DOCTOR_HOST_H_
