#include "transport/socket_access.h"

#include <grp.h>

#include <charconv>
#include <cstdint>
#include <system_error>

namespace ivmq::transport {

Result<mode_t> ParseSocketMode(const std::string& text) {
  uint32_t bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits, 8);
  if (error != std::errc() || end != text.data() + text.size() || bits > 0777) {
    return Status(Code::kInvalidArgument, "must be an octal mode up to 0777");
  }
  return mode_t{bits};
}

Result<gid_t> ParseSocketGroup(const std::string& text) {
  gid_t gid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), gid);
  if (error == std::errc() && end == text.data() + text.size()) return gid;
  const group* entry = getgrnam(text.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
  if (entry == nullptr) return Status(Code::kInvalidArgument, "no such group");
  return gid_t{entry->gr_gid};
}

}  // namespace ivmq::transport
