#ifndef IVMQ_BROKER_CONTROL_BURIAL_H_
#define IVMQ_BROKER_CONTROL_BURIAL_H_

#include "broker/control/peer_book.h"
#include "broker/control/realm_state.h"

// A reboot is proven in guest memory, where a proof can be forged. One thread, the loop's.

namespace ivmq::control {

// Remembers what the peer's agents and nodes know, all of which is proven dead, for a while.
void Bury(RealmState* state, Peer* peer);
// If that boot was proven dead it speaks now: the memory that it knew is not handed out any more.
void HeedTheBuried(RealmState* state, Peer* peer, const BootId& boot_id);

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_BURIAL_H_
