#include "sdk/command/doctor_region.h"

#include <fmt/core.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "sdk/command/output.h"
#include "transport/region_layout.h"
#include "transport/unique_fd.h"

namespace ivmq::command {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kPieceBytes = 16 << 20;
constexpr std::chrono::milliseconds kMeasureFor{100};
// Shared and private memory differ by some per cent; a mapping without a cache by 20 times.
constexpr double kSlowRatio = 0.25;
constexpr size_t kRings = 50;
constexpr int kRingTimeoutMs = 1000;
constexpr std::chrono::seconds kLinkWithin{2};
constexpr size_t kLargestRing = 16 << 20;
constexpr size_t kSmallestRing = 64 << 10;
constexpr const char* kUncachedMend =
    "the region is mapped without a cache: on AMD or with passed-through devices use vfio, and "
    "a region of 4 GiB or more, which lies above the uncached range";

// Bytes a second, copied between spans of one size.
double CopySpeed(std::span<const std::byte> from, std::span<std::byte> to) {
  uint64_t bytes = 0;
  std::memcpy(to.data(), from.data(), from.size());  // page faults are not what is measured
  const Clock::time_point begin = Clock::now();
  std::chrono::duration<double> took{};
  do {
    std::memcpy(to.data(), from.data(), from.size());
    bytes += from.size();
    took = Clock::now() - begin;
  } while (took < kMeasureFor);
  return static_cast<double>(bytes) / took.count();
}

// Round trips in microseconds, sorted; fewer than kRings if one got lost.
std::vector<double> MeasureRings(const transport::Attached& attached,
                                 const transport::Doorbell& doorbell) {
  const uint32_t vector = attached.welcome.vector;
  const transport::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  std::vector<double> trips;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, attached.device->vector_fd(vector), &event) != 0) {
    return trips;
  }
  while (::epoll_wait(epoll.get(), &event, 1, 0) > 0) {  // earlier rings
  }
  for (size_t i = 0; i < kRings; ++i) {
    const Clock::time_point begin = Clock::now();
    doorbell.Ring();
    if (::epoll_wait(epoll.get(), &event, 1, kRingTimeoutMs) <= 0) break;
    const std::chrono::duration<double, std::micro> took = Clock::now() - begin;
    trips.push_back(took.count());
  }
  std::sort(trips.begin(), trips.end());
  return trips;
}

// On the host one's own doorbell is the eventfd itself.
transport::Result<transport::Doorbell> OwnDoorbell(const transport::Attached& attached) {
  const uint32_t vector = attached.welcome.vector;
  if (attached.welcome.doorbell_access != transport::DoorbellAccess::kEventfd) {
    return attached.device->OpenDoorbell(attached.device->peer_id(), vector);
  }
  const int copy = ::dup(attached.device->vector_fd(vector));
  if (copy < 0) return transport::ErrnoStatus(errno, "cannot duplicate the vector's eventfd");
  return transport::Doorbell::Eventfd(
      std::make_shared<const transport::UniqueFd>(transport::UniqueFd(copy)));
}

}  // namespace

void ExamineRegion(const transport::Attached& attached, Findings* findings) {
  const transport::RegionInfo& region = attached.region;
  findings->Ok("region",
               fmt::format("realm '{}': {}, layout version {}, generation {}, {} vectors, {}",
                           region.realm_name, HumanBytes(static_cast<double>(region.region_bytes)),
                           transport::kLayoutVersion, region.generation, region.vectors,
                           attached.device->description()));
  findings->Ok(
      "peer",
      fmt::format("IVPosition {}{}, listening on vector {}", attached.device->peer_id(),
                  attached.device->peer_id() == 0 ? " (the host)" : "", attached.welcome.vector));
  const size_t piece = std::min<size_t>(kPieceBytes, region.arena_bytes);
  if (piece == 0) return;
  std::vector<std::byte> copy(piece);
  const std::vector<std::byte> plain(piece, std::byte{1});
  const double shared =
      CopySpeed(attached.device->region().subspan(region.arena_offset, piece), copy);
  const double ordinary = CopySpeed(plain, copy);
  findings->Expect(shared > kSlowRatio * ordinary, "memory",
                   fmt::format("reads the region at {:.1f} GB/s, private memory at {:.1f} GB/s",
                               shared / 1e9, ordinary / 1e9),
                   kUncachedMend);
}

void ExamineWriting(Node* node, Findings* findings) {
  const std::string topic = fmt::format("ivmq.doctor.{}", node->id());
  Result<BytesPublisher> publisher = Status(Code::kResourceExhausted, "");
  Result<BytesSubscriber> subscriber = Status(Code::kResourceExhausted, "");
  for (size_t ring = kLargestRing; ring >= kSmallestRing && !subscriber.ok(); ring /= 4) {
    publisher = node->CreateBytesPublisher(topic, "", {.ring_bytes = ring});
    if (!publisher.ok()) break;
    subscriber = node->CreateBytesSubscriber(topic, "");
  }
  if (!publisher.ok() || !subscriber.ok()) {
    const Status& status = publisher.ok() ? subscriber.status() : publisher.status();
    findings->Warn("memory writes", "cannot make a link to measure on: " + status.message(),
                   "see `ivmq links` for what takes the memory, or restart ivmqd with a larger "
                   "--size");
    return;
  }
  double shared = 0;
  double ordinary = 0;
  const auto measure = [&](std::span<std::byte> own) {
    const std::vector<std::byte> from(own.size(), std::byte{1});
    std::vector<std::byte> plain(own.size());
    shared = CopySpeed(from, own);
    ordinary = CopySpeed(from, plain);
    return false;  // nothing is published
  };
  // With others there the message would not be built in the ring.
  if (publisher->WaitForSubscribers(1, kLinkWithin).ok() && publisher->subscribers() == 1) {
    static_cast<void>(publisher->WriteInPlace(publisher->max_message_bytes(), measure));
  }
  if (shared == 0) {
    findings->Warn("memory writes", "not measured: somebody else subscribes to " + topic,
                   "stop whoever subscribes to every topic, and try again");
    return;
  }
  findings->Expect(shared > kSlowRatio * ordinary, "memory writes",
                   fmt::format("writes its own ring at {:.1f} GB/s, private memory at {:.1f} GB/s",
                               shared / 1e9, ordinary / 1e9),
                   kUncachedMend);
}

void ExamineDoorbell(const transport::Attached& attached, bool has_iommu, Findings* findings) {
  if (attached.welcome.has_wake_fd == 0) {
    findings->Warn("doorbell", "no interrupts: this machine receives by polling",
                   has_iommu
                       ? "modprobe vfio-pci, then ivmq-agent --device auto --bind"
                       : "give the guest a vIOMMU (-machine q35 -device intel-iommu,intremap=on "
                         "before the ivshmem device, intel_iommu=on in the guest) and run "
                         "ivmq-agent with --device auto --bind");
    return;
  }
  const transport::Result<transport::Doorbell> doorbell = OwnDoorbell(attached);
  if (!doorbell.ok()) {
    findings->Fail("doorbell", doorbell.status().message(), "restart the daemon");
    return;
  }
  const std::vector<double> trips = MeasureRings(attached, doorbell.value());
  if (trips.size() < kRings) {
    findings->Fail(
        "doorbell",
        fmt::format("a ring of the own vector did not arrive within {} ms", kRingTimeoutMs),
        "see that MSI-X and bus mastering are on (above), and that QEMU's vectors= is "
        "the realm's");
    return;
  }
  findings->Ok("doorbell", fmt::format("round trip to itself {:.1f} us (median of {}), slowest "
                                       "{:.1f} us",
                                       trips[trips.size() / 2], trips.size(), trips.back()));
}

}  // namespace ivmq::command
