#include "transport/status.h"

#include <cerrno>
#include <system_error>

namespace ivmq::transport {
namespace {

Code CodeOfErrno(int error) {
  switch (error) {
    case EINVAL:
    case ENAMETOOLONG:
      return Code::kInvalidArgument;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
      return Code::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOMEM:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ETOOMANYREFS:
    case EDQUOT:
      return Code::kResourceExhausted;
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
    case EPIPE:
    case EAGAIN:
      return Code::kUnavailable;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    case EBUSY:
    case ENOTDIR:
    case EISDIR:
      return Code::kFailedPrecondition;
    case ENOSYS:
    case EOPNOTSUPP:
    case ENOTTY:
      return Code::kUnimplemented;
    case ERANGE:
    case EOVERFLOW:
    case EFBIG:
      return Code::kOutOfRange;
    default:
      return Code::kUnknown;
  }
}

}  // namespace

Status ErrnoStatus(int error, const std::string& what) {
  return Status(CodeOfErrno(error), what + ": " + std::generic_category().message(error));
}

}  // namespace ivmq::transport
