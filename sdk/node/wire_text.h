#ifndef IVMQ_SDK_NODE_WIRE_TEXT_H_
#define IVMQ_SDK_NODE_WIRE_TEXT_H_

#include <string_view>

#include "ivmq/status.h"

namespace ivmq::internal {

// Whether a text can be said in a session at all: valid UTF-8 (overlong forms and surrogates are
// not), which protobuf insists on, and not absurdly long. What a name may consist of, control says.
// INVALID_ARGUMENT names `what` and, of a topic, the token between dots.
Status CheckWireText(std::string_view what, std::string_view text);

}  // namespace ivmq::internal

#endif  // IVMQ_SDK_NODE_WIRE_TEXT_H_
