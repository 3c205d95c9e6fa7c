#include "transport/doorbell.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <memory>

namespace ivmq::transport {
namespace {

constexpr uint64_t kFull = UINT64_MAX - 1;

// Blocking, as QEMU leaves it.
std::shared_ptr<const UniqueFd> MakeEventfd(uint64_t count) {
  auto fd = std::make_shared<const UniqueFd>(::eventfd(0, EFD_CLOEXEC));
  EXPECT_EQ(::write(fd->get(), &count, sizeof(count)), 8);
  return fd;
}

uint64_t Take(const UniqueFd& fd) {
  uint64_t count = 0;
  EXPECT_EQ(::read(fd.get(), &count, sizeof(count)), 8);
  return count;
}

TEST(DoorbellTest, CarefullyRingsUpToAFullCounterAndDoesNotBlockThere) {
  const auto fd = MakeEventfd(kFull - 1);
  const Doorbell bell = Doorbell::CarefulEventfd(fd);
  bell.Ring();
  bell.Ring();  // the counter has no room: this would block for ever
  EXPECT_EQ(Take(*fd), kFull);
  bell.Ring();
  EXPECT_EQ(Take(*fd), 1u);
}

TEST(DoorbellTest, RingsCoalesce) {
  const auto fd = MakeEventfd(0);
  const Doorbell bell = Doorbell::Eventfd(fd);
  const Doorbell copy = bell;
  bell.Ring();
  copy.Ring();
  EXPECT_EQ(Take(*fd), 2u);
}

TEST(DoorbellTest, TheDefaultOneRingsNothing) { Doorbell().Ring(); }

}  // namespace
}  // namespace ivmq::transport
