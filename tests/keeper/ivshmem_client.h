#ifndef IVMQ_TESTS_KEEPER_IVSHMEM_CLIENT_H_
#define IVMQ_TESTS_KEEPER_IVSHMEM_CLIENT_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "transport/unique_fd.h"

namespace ivmq::broker {

// The client side of the ivshmem protocol, as trusting as QEMU where that is safe and stricter
// everywhere else: whatever would make some QEMU abort, hang or lose a vector is a violation.
class IvshmemClient {
 public:
  // One message as it came: its value and whether an fd was beside it.
  using Message = std::pair<int64_t, bool>;

  // Hundreds of clients with all doorbells of one another would need a great many files.
  enum class Keep { kAllVectors, kOwnVectors };

  IvshmemClient(transport::UniqueFd socket, uint32_t vectors, Keep keep = Keep::kAllVectors)
      : socket_(std::move(socket)), vectors_(vectors), keep_(keep) {}

  // Connects to a path; aborts the test program if that fails.
  static IvshmemClient Connect(const std::string& path, uint32_t vectors,
                               Keep keep = Keep::kAllVectors);

  // Reads what is there, at most `limit` messages; returns how many.
  size_t Read(size_t limit = SIZE_MAX);

  // The first violation; empty while there is none.
  const std::string& violation() const { return violation_; }
  bool at_eof() const { return at_eof_; }
  int64_t id() const { return id_; }
  int region() const { return region_.get(); }
  // Peers that are fully announced and connected, 0 among them, without this one.
  std::set<uint32_t> peers() const;
  // All own vectors have come.
  bool complete() const;
  // -1 if it did not come or was not kept.
  int vector(uint32_t peer, uint32_t index) const;
  const std::vector<Message>& log() const { return log_; }

  int socket() const { return socket_.get(); }
  void Close() { socket_.Reset(); }

 private:
  struct Peer {
    uint32_t count = 0;  // of its vectors so far
    std::vector<transport::UniqueFd> vectors;
  };

  void Take(int64_t value, transport::UniqueFd fd);
  void TakeVector(uint32_t peer, transport::UniqueFd fd);
  void TakeGone(uint32_t peer);
  void Violate(const std::string& what);

  transport::UniqueFd socket_;
  uint32_t vectors_;
  Keep keep_;
  bool at_eof_ = false;
  int64_t version_ = -1;
  int64_t id_ = -1;
  transport::UniqueFd region_;
  std::map<uint32_t, Peer> known_;
  std::set<uint32_t> gone_;
  std::vector<Message> log_;
  std::string violation_;
};

}  // namespace ivmq::broker

#endif  // IVMQ_TESTS_KEEPER_IVSHMEM_CLIENT_H_
