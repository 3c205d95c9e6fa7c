#ifndef IVMQ_BROKER_CONTROL_TYPE_BOOK_H_
#define IVMQ_BROKER_CONTROL_TYPE_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ivmq::control {

// What publishers and servers said of their types: for each type one serialized FileDescriptorSet,
// the first that came, kept as long as a publisher or server of the type lives. When the last one
// goes it stays for who still holds its messages, until others need the room, somebody says
// something else, or kMaxIdle types are without anybody. One thread.
class TypeBook {
 public:
  static constexpr size_t kMaxSetBytes = 262144;
  static constexpr size_t kDefaultTotalBytes = 16 << 20;
  static constexpr size_t kMaxIdle = 1024;

  explicit TypeBook(size_t total_bytes = kDefaultTotalBytes) : total_bytes_(total_bytes) {}

  // OK for none at all. INVALID_ARGUMENT for a set that is too large, does not parse, or lacks one
  // of the types; `types` may hold empty ones, which stand for bytes.
  static absl::Status Validate(std::string_view set, const std::vector<std::string>& types);

  // The endpoint publishes or serves these types. A set for which there is no room is not kept.
  // REQUIRES: Validate() found it good; the endpoint is new.
  void Add(uint64_t endpoint_id, const std::vector<std::string>& types, const std::string& set);
  // Harmless for one that is not there.
  void Remove(uint64_t endpoint_id);

  // NOT_FOUND, saying why: nobody publishes or serves it any more, nobody described it, or no room.
  absl::StatusOr<std::shared_ptr<const std::string>> Find(std::string_view type) const;

  size_t used_bytes() const { return used_bytes_; }
  size_t types() const { return types_.size(); }
  // Sets that differed from what another said of the same type, and so were not kept.
  uint64_t conflicts() const { return conflicts_; }

 private:
  struct Type {
    std::set<uint64_t> endpoints;
    std::shared_ptr<const std::string> set;  // may be that of several types; null: none is kept
    bool had_no_room = false;
    uint64_t idle_number = 0;  // its key in idle_; 0: it has endpoints
  };
  void Forget(std::string_view name);
  // Forgets idle types, those first that became it first.
  void MakeRoom(size_t bytes);
  void Describe(const std::string& name, const std::shared_ptr<const std::string>& set, Type* type);

  const size_t total_bytes_;
  size_t used_bytes_ = 0;  // each set as often as it is kept
  uint64_t conflicts_ = 0;
  std::map<std::string, Type, std::less<>> types_;
  std::map<uint64_t, std::vector<std::string>> types_of_;  // by endpoint
  std::map<uint64_t, std::string> idle_;                   // types without endpoints, oldest first
  uint64_t last_idle_number_ = 0;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_TYPE_BOOK_H_
