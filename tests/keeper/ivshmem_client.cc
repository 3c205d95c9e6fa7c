#include "tests/keeper/ivshmem_client.h"

#include <endian.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "transport/fd_passing.h"
#include "transport/unix_socket.h"

namespace ivmq::broker {

using transport::UniqueFd;

IvshmemClient IvshmemClient::Connect(const std::string& path, uint32_t vectors, Keep keep) {
  auto socket = transport::ConnectUnix(path, transport::UnixSocketType::kStream,
                                       std::chrono::steady_clock::now() + std::chrono::seconds(20));
  if (!socket.ok()) {
    std::fprintf(stderr, "%s\n", socket.status().message().c_str());
    std::abort();
  }
  return IvshmemClient(std::move(socket).value(), vectors, keep);
}

size_t IvshmemClient::Read(size_t limit) {
  size_t count = 0;
  while (count < limit && !at_eof_) {
    uint64_t wire = 0;
    std::vector<UniqueFd> fds;
    const auto got = transport::ReceiveWithFds(
        socket_.get(), std::as_writable_bytes(std::span(&wire, 1)), 4, &fds);
    if (got.bytes < 0 && got.error == EAGAIN) break;
    if (got.bytes <= 0) {
      at_eof_ = true;
      break;
    }
    ++count;
    if (got.bytes != sizeof wire) Violate("a message of " + std::to_string(got.bytes) + " bytes");
    if (fds.size() > 1 || got.fds_lost) Violate("more than one fd beside a message");
    Take(static_cast<int64_t>(le64toh(wire)), fds.empty() ? UniqueFd() : std::move(fds.front()));
  }
  return count;
}

void IvshmemClient::Take(int64_t value, UniqueFd fd) {
  log_.emplace_back(value, static_cast<bool>(fd));
  if (version_ < 0) {
    if (value != 0 || fd) Violate("the first message must be version 0 without an fd");
    version_ = 0;
  } else if (id_ < 0) {
    if (value < 0 || value > 65535 || fd) Violate("the second message must be an ID without fd");
    id_ = value;
  } else if (!region_) {
    if (value != -1 || !fd) Violate("the third message must be -1 with the region");
    region_ = std::move(fd);
  } else if (value < 0 || value > 65535) {
    Violate("ID " + std::to_string(value));
  } else if (fd) {
    TakeVector(static_cast<uint32_t>(value), std::move(fd));
  } else {
    TakeGone(static_cast<uint32_t>(value));
  }
}

void IvshmemClient::TakeVector(uint32_t peer, UniqueFd fd) {
  if (gone_.contains(peer)) Violate("ID " + std::to_string(peer) + " came back");
  Peer& known = known_[peer];
  if (++known.count > vectors_) Violate("too many vectors of peer " + std::to_string(peer));
  if (keep_ == Keep::kAllVectors || peer == id_) known.vectors.push_back(std::move(fd));
}

void IvshmemClient::TakeGone(uint32_t peer) {
  const auto found = known_.find(peer);
  if (peer == id_) return Violate("own disconnect");
  if (found == known_.end()) {
    return Violate("disconnect of " + std::to_string(peer) +
                   (gone_.contains(peer) ? " for the second time" : ", which was never announced"));
  }
  if (found->second.count != vectors_) {
    Violate("disconnect of " + std::to_string(peer) + " in the middle of its vectors");
  }
  known_.erase(found);
  gone_.insert(peer);
}

void IvshmemClient::Violate(const std::string& what) {
  if (violation_.empty()) {
    violation_ =
        "client " + std::to_string(id_) + ", message " + std::to_string(log_.size()) + ": " + what;
  }
}

std::set<uint32_t> IvshmemClient::peers() const {
  std::set<uint32_t> ids;
  for (const auto& [id, peer] : known_) {
    if (id != id_ && peer.count == vectors_) ids.insert(id);
  }
  return ids;
}

bool IvshmemClient::complete() const {
  const auto own = known_.find(static_cast<uint32_t>(id_));
  return id_ >= 0 && own != known_.end() && own->second.count == vectors_;
}

int IvshmemClient::vector(uint32_t peer, uint32_t index) const {
  const auto found = known_.find(peer);
  if (found == known_.end() || index >= found->second.vectors.size()) return -1;
  return found->second.vectors[index].get();
}

}  // namespace ivmq::broker
