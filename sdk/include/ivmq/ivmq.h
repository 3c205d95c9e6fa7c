#ifndef IVMQ_IVMQ_H_
#define IVMQ_IVMQ_H_

// Everything but the protobuf adapter (<ivmq/protobuf.h>). Needs the standard library only.

#include <ivmq/client.h>
#include <ivmq/codec.h>
#include <ivmq/event.h>
#include <ivmq/message.h>
#include <ivmq/node.h>
#include <ivmq/options.h>
#include <ivmq/publisher.h>
#include <ivmq/server.h>
#include <ivmq/status.h>
#include <ivmq/subscriber.h>
#include <ivmq/wait_set.h>

#endif  // IVMQ_IVMQ_H_
