#ifndef IVMQ_SDK_COMMAND_DOCTOR_MACHINE_H_
#define IVMQ_SDK_COMMAND_DOCTOR_MACHINE_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sdk/command/findings.h"

namespace ivmq::command {

// Processor and this process's own limits.
void ExamineMachine(bool guest, Findings* findings);

// The open-file limit of a process, against `needed` descriptors; 0: what a daemon needs for a
// few VMs. Says nothing where /proc does not tell.
void ExamineFileLimit(const std::string& what, pid_t pid, uint64_t needed, Findings* findings);

// Paths of the UNIX sockets that a process listens on; none where /proc does not tell.
std::vector<std::string> ListeningSockets(pid_t pid);

// A whole file, NULs and all; empty if it cannot be read.
std::string ReadFile(const std::string& path);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_DOCTOR_MACHINE_H_
