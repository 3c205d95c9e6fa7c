#ifndef IVMQ_BROKER_KEEPER_PEER_VECTORS_H_
#define IVMQ_BROKER_KEEPER_PEER_VECTORS_H_

#include <memory>
#include <vector>

#include "transport/unique_fd.h"

namespace ivmq::broker {

// The doorbells of one peer: element i is its vector i. Shared by everyone who has still to be
// told of them; the eventfds close with the last owner.
using PeerVectors = std::shared_ptr<const std::vector<transport::UniqueFd>>;

}  // namespace ivmq::broker

#endif  // IVMQ_BROKER_KEEPER_PEER_VECTORS_H_
