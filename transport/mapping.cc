#include "transport/mapping.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <string>
#include <utility>

namespace ivmq::transport {
namespace {

namespace interprocess = boost::interprocess;

// What mapped_region asks of the thing that it maps.
class FdMappable {
 public:
  explicit FdMappable(int fd) : fd_(fd) {}
  interprocess::mapping_handle_t get_mapping_handle() const {
    return interprocess::ipcdetail::mapping_handle_from_file_handle(fd_);
  }
  interprocess::mode_t get_mode() const { return interprocess::read_write; }

 private:
  int fd_;
};

// mapped_region points at the asked offset; madvise wants its page.
Status KeepFromChildren(std::span<std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes.data()) & ~(page - 1);
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size();
  if (::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTFORK) != 0) {
    return ErrnoStatus(errno, "cannot keep a mapping from child processes");
  }
  return Status();
}

}  // namespace

struct Mapping::Region {
  interprocess::mapped_region mapped;
};

Mapping::Mapping(std::unique_ptr<Region> region, std::span<std::byte> bytes)
    : region_(std::move(region)), bytes_(bytes) {}
Mapping::~Mapping() = default;

Result<std::shared_ptr<Mapping>> Mapping::OfFile(int fd, uint64_t offset, uint64_t bytes) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, "cannot tell the size of a mapping's fd");
  if (!S_ISREG(info.st_mode)) {
    return Status(Code::kInvalidArgument, "only a regular file or a memfd can be mapped by size");
  }
  const auto size = static_cast<uint64_t>(info.st_size);
  if (bytes > size || offset > size - bytes) {
    return Status(Code::kOutOfRange, "cannot map " + std::to_string(bytes) + " bytes at offset " +
                                         std::to_string(offset) + " of a file of " +
                                         std::to_string(size) + " bytes");
  }
  return OfDevice(fd, offset, bytes);
}

Result<std::shared_ptr<Mapping>> Mapping::OfDevice(int fd, uint64_t offset, uint64_t bytes) {
  if (bytes == 0) return Status(Code::kInvalidArgument, "cannot map 0 bytes");
  auto region = std::make_unique<Region>();
  try {
    region->mapped = interprocess::mapped_region(FdMappable(fd), interprocess::read_write,
                                                 static_cast<interprocess::offset_t>(offset),
                                                 static_cast<size_t>(bytes));
  } catch (const interprocess::interprocess_exception& failure) {
    return ErrnoStatus(
        failure.get_native_error(),
        "cannot map " + std::to_string(bytes) + " bytes at offset " + std::to_string(offset));
  }
  const std::span<std::byte> span(static_cast<std::byte*>(region->mapped.get_address()),
                                  region->mapped.get_size());
  if (Status status = KeepFromChildren(span); !status.ok()) return status;
  return std::shared_ptr<Mapping>(new Mapping(std::move(region), span));
}

}  // namespace ivmq::transport
