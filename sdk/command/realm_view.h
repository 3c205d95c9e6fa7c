#ifndef IVMQ_SDK_COMMAND_REALM_VIEW_H_
#define IVMQ_SDK_COMMAND_REALM_VIEW_H_

#include <ivmq/ivmq.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "sdk/command/interrupt.h"

namespace ivmq::command {

// What topics and services there are, as a node is told. One thread.
class RealmView {
 public:
  struct Service {
    std::string request_type;  // empty: bytes, or any
    std::string reply_type;
    uint32_t servers = 0;
  };

  // Returns when all has been told that there is. Once a node.
  static Result<RealmView> Open(Node* node);

  // Empty: of bytes, or nobody has it.
  std::string TypeOf(const std::string& topic) const;
  // As it is now; waits until there are so many servers, the time is up or Ctrl-C comes.
  Service AwaitService(const std::string& service, uint32_t servers,
                       std::chrono::nanoseconds timeout, const Interrupt& interrupt) const;

 private:
  struct Told;
  explicit RealmView(std::shared_ptr<Told> told) : told_(std::move(told)) {}

  std::shared_ptr<Told> told_;  // shared with the node's handler
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_REALM_VIEW_H_
