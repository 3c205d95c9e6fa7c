#include "sdk/command/payload_source.h"

#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

namespace ivmq::command {
namespace {

constexpr const char* kStandardInput = "-";

struct CloseFile {
  void operator()(std::FILE* file) const { static_cast<void>(std::fclose(file)); }
};

}  // namespace

Result<std::string> ReadWholeFile(const std::string& path) {
  const auto fail = [&path] {
    return Status(Code::kNotFound, fmt::format("cannot read '{}': {}", path,
                                               std::generic_category().message(errno)));
  };
  std::unique_ptr<std::FILE, CloseFile> opened;
  std::FILE* file = stdin;
  if (path != kStandardInput) {
    opened.reset(std::fopen(path.c_str(), "re"));
    file = opened.get();
  }
  if (file == nullptr) return fail();
  std::string content;
  char bytes[65536];
  size_t size = 0;
  while ((size = std::fread(bytes, 1, sizeof(bytes), file)) > 0) content.append(bytes, size);
  if (std::ferror(file) != 0) return fail();
  return content;
}

PayloadSource::PayloadSource(Kind kind, std::optional<uint64_t> left, int stop_fd, Encode encode)
    : kind_(kind), left_(left), stop_fd_(stop_fd), encode_(std::move(encode)) {}

Result<PayloadSource> PayloadSource::Open(const Payload& payload, std::optional<uint64_t> count,
                                          std::optional<size_t> size_bytes, int stop_fd,
                                          const Encode& encode) {
  if (payload.lines) return PayloadSource(Kind::kLines, count, stop_fd, encode);
  if (payload.json == kStandardInput) {
    return PayloadSource(Kind::kJsonLines, count, stop_fd, encode);
  }
  PayloadSource source(Kind::kOne, count.value_or(1), stop_fd, encode);
  if (payload.json) {
    auto encoded = encode(*payload.json);
    if (!encoded.ok()) return encoded.status();
    source.message_ = std::move(encoded).value();
  } else if (!payload.file.empty()) {
    auto content = ReadWholeFile(payload.file);
    if (!content.ok()) return content.status();
    source.message_ = std::move(content).value();
  } else {
    source.message_ = payload.text.value_or("");
  }
  if (size_bytes) {
    const std::string unit = source.message_.empty() ? "x" : source.message_;
    source.message_.clear();
    while (source.message_.size() < *size_bytes) source.message_ += unit;
    source.message_.resize(*size_bytes);
  }
  return source;
}

std::optional<size_t> PayloadSource::size() const {
  return kind_ == Kind::kOne ? std::optional<size_t>(message_.size()) : std::nullopt;
}

Result<bool> PayloadSource::ReadLine(std::string* line) {
  // getline() would not hear of `stop_fd`.
  size_t looked_at = begin_;
  for (;;) {
    const size_t end = read_.find('\n', looked_at);
    if (end != std::string::npos) {
      line->assign(read_, begin_, end - begin_);
      begin_ = end + 1;
      return true;
    }
    read_.erase(0, std::exchange(begin_, 0));
    looked_at = read_.size();
    std::array<pollfd, 2> fds{{{STDIN_FILENO, POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[1].revents != 0) return false;
    char bytes[65536];
    const ssize_t size = ::read(STDIN_FILENO, bytes, sizeof(bytes));
    if (size > 0) {
      read_.append(bytes, static_cast<size_t>(size));
      continue;
    }
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size < 0) {
      return Status(Code::kInternal,
                    "cannot read the standard input: " + std::generic_category().message(errno));
    }
    if (read_.empty()) return false;
    *line = std::exchange(read_, {});  // the last one need not end
    return true;
  }
}

Result<const std::string*> PayloadSource::Next() {
  constexpr const std::string* kNoMore = nullptr;
  if (left_ && (*left_)-- == 0) return kNoMore;
  if (kind_ == Kind::kOne) return &message_;
  std::string line;
  const auto there = ReadLine(&line);
  if (!there.ok()) return there.status();
  if (!there.value()) return kNoMore;
  ++lines_;
  if (kind_ == Kind::kLines) {
    message_ = std::move(line);
    return &message_;
  }
  auto encoded = encode_(line);
  if (!encoded.ok()) {
    return Status(encoded.status().code(),
                  fmt::format("line {}: {}", lines_, encoded.status().message()));
  }
  message_ = std::move(encoded).value();
  return &message_;
}

}  // namespace ivmq::command
