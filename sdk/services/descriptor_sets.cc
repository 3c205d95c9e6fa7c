// Puts descriptions of types together without knowing protobuf: applications bring their own.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ivmq/server.h"

namespace ivmq::internal {
namespace {

// A FileDescriptorSet is `repeated FileDescriptorProto file = 1` and nothing else: a tag, a length
// and so many bytes, again and again.
constexpr char kFileTag = 0x0a;
constexpr size_t kVarintBytesMax = 10;

// The length at the beginning of `text`, which is taken off it.
std::optional<uint64_t> TakeLength(std::string_view* text) {
  uint64_t length = 0;
  for (size_t i = 0; i < kVarintBytesMax && i < text->size(); ++i) {
    const auto byte = static_cast<uint8_t>((*text)[i]);
    length |= uint64_t{byte & 0x7fU} << (7 * i);
    if (byte < 0x80) {
      text->remove_prefix(i + 1);
      return length;
    }
  }
  return std::nullopt;
}

// Each with its tag and length.
std::optional<std::vector<std::string_view>> FilesOf(std::string_view set) {
  std::vector<std::string_view> files;
  while (!set.empty()) {
    if (set.front() != kFileTag) return std::nullopt;
    std::string_view rest = set.substr(1);
    const auto length = TakeLength(&rest);
    if (!length || *length > rest.size()) return std::nullopt;
    const size_t bytes = set.size() - rest.size() + *length;
    files.push_back(set.substr(0, bytes));
    set.remove_prefix(bytes);
  }
  return files;
}

}  // namespace

std::string MergeDescriptorSets(std::string first, std::string_view second) {
  const auto some = FilesOf(first);
  const auto others = FilesOf(second);
  if (!some || !others) return first.append(second);
  std::set<std::string_view> seen;
  std::string merged;
  for (const auto* files : {&*some, &*others}) {
    for (const std::string_view file : *files) {
      if (seen.insert(file).second) merged += file;
    }
  }
  return merged;
}

}  // namespace ivmq::internal
