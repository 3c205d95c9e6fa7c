#ifndef IVMQ_SDK_COMMAND_DOCTOR_H_
#define IVMQ_SDK_COMMAND_DOCTOR_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// Examines daemon, device, region and machine, on a host as in a guest, and says what to mend.
// Returns the exit status: failed if anything is broken; warnings alone are no failure.
int RunDoctor(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_DOCTOR_H_
