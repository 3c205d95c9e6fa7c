#ifndef IVMQ_SDK_COMMAND_AUDIT_H_
#define IVMQ_SDK_COMMAND_AUDIT_H_

#include <string>
#include <vector>

#include "ivmq/v1/admin.pb.h"
#include "sdk/command/command_line.h"

namespace ivmq::command {

// audit: what became of the messages of each link. Fails (status 1) where a link on which nothing
// moves does not add up, naming it. Returns the exit status.
int RunAudit(const CommandLine& line);

// A link for people: its name and the verdict, then an account each a line.
std::vector<std::string> AuditLines(const v1::LinkAudit& audit);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_AUDIT_H_
