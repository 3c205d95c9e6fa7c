#ifndef IVMQ_SDK_COMMAND_LISTS_H_
#define IVMQ_SDK_COMMAND_LISTS_H_

#include "sdk/command/command_line.h"

namespace ivmq::command {

// realms, peers, nodes, topics, links: a table, or one JSON object a line. In a guest, where there
// is no admin socket, peers, nodes and topics come through the node socket, with fewer figures.
// Returns the exit status.
int RunList(const CommandLine& line);

// Whether to ask the node socket because there is no admin socket that was meant.
bool UsesNodeSocket(const CommandLine& line);

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_LISTS_H_
