#include "broker/control/realm_opener.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "broker/control/status_convert.h"
#include "broker/control/topic_name.h"
#include "transport/log.h"
#include "transport/memfd_device.h"
#include "transport/region.h"

namespace ivmq::control {

using broker::KeeperEvent;
using transport::MemfdDevice;
using transport::UniqueFd;

namespace {

std::string RealmName(const KeeperEvent& event) {
  return std::string(event.name, strnlen(event.name, sizeof(event.name)));
}

Peer HostPeer() {
  Peer host;
  host.id = 0;
  host.since = Clock::now();
  host.state = v1::Peer::READY;
  return host;
}

}  // namespace

bool RealmOpener::AddDoorbells(std::vector<UniqueFd> fds) {
  std::move(fds.begin(), fds.end(), std::back_inserter(vectors_));
  return vectors_.size() >= event_.vectors;
}

absl::StatusOr<std::unique_ptr<Realm>> RealmOpener::Open(transport::EventLoop* loop,
                                                         IdSource* ids) {
  // All pages now, so that nobody meets SIGBUS or is charged for them later.
  if (fallocate(region_.get(), 0, 0, static_cast<off_t>(event_.region_bytes)) != 0) {
    return absl::ResourceExhaustedError(
        fmt::format("there is no memory for a region of {} bytes: {}; use a smaller --size",
                    event_.region_bytes, std::strerror(errno)));
  }
  MemfdDevice::Parts parts;
  parts.region = std::move(region_);
  parts.peer_id = 0;
  parts.vectors = std::move(vectors_);
  transport::Result<std::shared_ptr<MemfdDevice>> device = MemfdDevice::Open(std::move(parts));
  if (!device.ok()) return ToAbsl(device.status());
  const std::span<std::byte> region = device.value()->region();
  const bool is_new = event_.flag == 1;
  if (is_new) {
    transport::RegionParameters parameters;
    parameters.realm_name = RealmName(event_);
    std::copy(std::begin(event_.uuid), std::end(event_.uuid), parameters.uuid.begin());
    parameters.vectors = event_.vectors;
    parameters.generation = event_.generation;
    const transport::Status formatted = transport::FormatRegion(region, parameters);
    if (!formatted.ok()) return ToAbsl(formatted);
  }
  const transport::Result<transport::RegionInfo> info = transport::OpenRegion(region);
  if (!info.ok()) return ToAbsl(info.status());
  auto realm = std::make_unique<Realm>(loop, RealmName(event_), event_.realm, info.value(),
                                       std::move(device).value(), ids);
  realm->state.peers.emplace(0, HostPeer());
  if (!is_new) {
    const std::string why = fmt::format(
        "control of realm {} was started anew and does not know what is in use: links that exist "
        "go "
        "on, new ones can be made after a restart of ivmqd",
        Quoted(realm->state.name));
    LogWarning("{}", why);
    realm->state.ledger.mutable_arena()->Close(why);
  }
  return realm;
}

}  // namespace ivmq::control
